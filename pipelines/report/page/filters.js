// Which clips are shown, in which order, a page at a time.

const PER_PAGE = 48;
let shown = [], page = 0;

const searched = clip => clip.words ??= [clip.id, clip.error, clip.remedy, clip.reference, clip.driving, clip.stage,
  ...(clip.review || []), ...(clip.warnings || []), clip.cells ? JSON.stringify(clip.cells) : JSON.stringify(metadata(clip))].join(" ").toLowerCase();
const chosen = new Set();

function options(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => make("option", {value}, text)));
}

function counted(lists) {
  const counts = new Map();
  for (const list of lists) for (const name of list) counts.set(name, (counts.get(name) || 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1] || String(one[0]).localeCompare(other[0]));
}

const named = entries => entries.map(([name, count]) => [name, `${name} (${count.toLocaleString("en")})`]);

function drawFilters() {
  for (const [name, count] of counted(clips.map(clip => [clip.status])))
    $("statuses").append(make("button", {type: "button", "aria-pressed": "false", onclick: event => {
      chosen.has(name) ? chosen.delete(name) : chosen.add(name);
      event.target.setAttribute("aria-pressed", chosen.has(name));
      draw();
    }}, `${name.replace("_", " ")} ${count.toLocaleString("en")}`));
  options($("flag"), [["", "any"], ...named(counted(clips.map(flags)))]);
  options($("animator"), [["", "any"], ...named(counted(clips.map(clip => [clip.animator || (clip.cells || {}).animator || "none"])))]);
  const names = counted(clips.map(clip => fields(clip).map(([name]) => name)));
  options($("name"), [["", "any"], ...names.map(([name]) => [name, name])]);
  options($("mark"), [["", "any"], ["none", "no mark"], ["accept", "accepted"], ["redo", "to redo"]]);
  const measures = [...new Set(clips.flatMap(clip => Object.keys(clip.quality || {})))].sort();
  options($("order"), [["", "worst first"], ["row", "row"], ["id", "id"], ...measures.map(name => ["quality " + name, name.replaceAll("_", " ")])]);
}

function drawValues() {
  const name = $("name").value;
  $("values").hidden = !name;
  $("value").value = "";
  const known = name ? counted(clips.map(clip => fields(clip).filter(([one]) => one === name).map(([, value]) => plain(value)))) : [];
  $("known").replaceChildren(...known.slice(0, 300).map(([value]) => make("option", {value})));
}

function wanted(clip) {
  const flag = $("flag").value, animator = $("animator").value, mark = $("mark").value;
  const name = $("name").value, value = $("value").value.trim().toLowerCase();
  if (chosen.size && !chosen.has(clip.status)) return false;
  if (flag && !flags(clip).includes(flag)) return false;
  if (animator && (clip.animator || (clip.cells || {}).animator || "none") !== animator) return false;
  if (mark && (marks.get(clip) || "none") !== mark) return false;
  if (name && !fields(clip).some(([one, held]) => one === name && plain(held).toLowerCase().includes(value))) return false;
  return $("search").value.toLowerCase().split(/\s+/).filter(Boolean).every(word => searched(clip).includes(word));
}

function inOrder(some) {
  const order = $("order").value;
  if (!order) return some;
  if (order === "row") return some.sort((one, other) => one.row - other.row);
  if (order === "id") return some.sort((one, other) => String(one.id).localeCompare(other.id, "en", {numeric: true}));
  const name = order.slice(8), sign = (data.less_is_worse || []).includes(name) ? -1 : 1;
  const badness = clip => clip.quality && name in clip.quality ? sign * clip.quality[name].value : -Number.MAX_VALUE;
  return some.sort((one, other) => badness(other) - badness(one));
}

function draw() {
  shown = inOrder(clips.filter(wanted));
  page = 0;
  $("count").textContent = `${shown.length.toLocaleString("en")} of ${clips.length.toLocaleString("en")} clips`;
  drawPage();
}

function drawPage() {
  const last = Math.max(0, Math.ceil(shown.length / PER_PAGE) - 1);
  page = Math.min(page, last);
  const to = number => { page = number; drawPage(); scrollTo(0, $("clips").offsetTop - $("bar").offsetHeight - 8); };
  $("clips").replaceChildren(...shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card));
  const button = (text, number) => make("button", {type: "button", disabled: number < 0 || number > last || number === page, onclick: () => to(number)}, text);
  const jump = make("input", {type: "number", min: 1, max: last + 1, value: page + 1, "aria-label": "page",
    onchange: event => to(Math.min(last, Math.max(0, Math.round(event.target.value) - 1 || 0)))});
  $("pages").replaceChildren(...(last ? [button("first", page ? 0 : -1), button("← before", page - 1), jump, make("span", {}, `of ${last + 1}`), button("next →", page + 1), button("last", last)] : []));
}
