// Marked rows as their owner wrote them, in what `catwalk manifest build` reads.

const FIRST = ["id", "reference", "driving", "driving_kind", "animator", "checkpoint"];  // columns of a CSV

function otherSeed(clip) {
  // the film's own, which is a whole number however its owner wrote it
  const next = (BigInt(clip.seed ?? 0) + 1n) % 2n ** 63n;
  return next <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(next) : String(next);
}

function redone() {
  const marked = clips.filter(clip => marks.get(clip) === "redo");
  const rows = marked.filter(clip => clip.cells).map(clip =>
    $("reseed").checked && GOOD.includes(clip.status) ? {...clip.cells, seed: otherSeed(clip)} : clip.cells);
  const notes = [];
  if (rows.length < marked.length) notes.push(`${marked.length - rows.length} marked rows are left out: what their manifest said is not known.`);
  const partly = marked.filter(clip => clip.withheld).length;
  if (partly) notes.push(`${partly} rows lack parts that may be secret: fill them in.`);
  return [rows, notes];
}

// A spreadsheet would run a cell that begins so. The apostrophe keeps it text; `catwalk manifest build` takes it off.
// Blanks before it do not stop every program, nor does its full-width form.
const RUNS = /^['"\s]*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/, RUNS_INSIDE = /[;\t\r\n]['"\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]/;

function csvCell(value) {
  if (typeof value === "number") return String(value);
  const text = value === undefined || value === null ? "" : plain(value);
  return `"${(RUNS.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;
}

function csv(rows) {
  const names = [...new Set([...FIRST, ...rows.flatMap(Object.keys)])].filter(name => rows.some(row => row[name] !== undefined));
  return "\ufeff" + [names.map(csvCell), ...rows.map(row => names.map(name => csvCell(row[name])))].map(cells => cells.join(",") + "\r\n").join("");
}

const runsInside = rows => rows.filter(row => Object.values(row).some(value => RUNS_INSIDE.test(plain(value ?? ""))));

function save(name, text, kind) {
  const link = make("a", {download: name, href: URL.createObjectURL(new Blob([text], {type: kind}))});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const shell = text => /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
const FILE = data.run.replace(/[^\w.-]/g, "_");

function exportRedo(kind) {
  const [rows, notes] = redone(), name = `${FILE}-redo`;
  const told = [...notes];
  if (kind === "csv" && runsInside(rows).length) {
    $("told").textContent = clean(`Not written: ${runsInside(rows)[0].id || "a row"} holds text that a spreadsheet could take for a formula, beyond a separator. Take JSON Lines.`);
    return;
  }
  if (kind === "csv") save(`${name}.csv`, csv(rows), "text/csv");
  else save(`${name}.jsonl`, rows.map(row => JSON.stringify(row) + "\n").join(""), "application/x-ndjson");
  told.push(`${rows.length} rows in ${name}.${kind}. For the next night:`,
    `catwalk manifest build ${name}.${kind} ${name}.parquet`,
    `catwalk animate ${name}.parquet ${shell(data.output)}` + (data.base ? ` --allow ${shell(data.base)}` : ""));
  $("told").textContent = told.map(clean).join("\n");
}

function exportAccepted() {
  const rows = clips.filter(clip => marks.get(clip) === "accept").map(clip => ({
    id: clip.id, film: filmPlace(clip), seed: clip.seed,
    ...Object.fromEntries(fields(clip).map(([name, value]) => ["metadata." + name, value]))}));
  if (runsInside(rows).length) {
    $("told").textContent = clean(`Not written: ${runsInside(rows)[0].id} holds text that a spreadsheet could take for a formula, beyond a separator.`);
    return;
  }
  save(`${FILE}-accepted.csv`, csv(rows), "text/csv");
  $("told").textContent = clean(`${rows.length} films in ${FILE}-accepted.csv`);
}
