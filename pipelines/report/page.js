"use strict";
// Draws the table from the JSON beside it. Whatever a row holds becomes text nodes and checked addresses, never HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const clips = data.clips, PER_PAGE = 48, GOOD = ["done", "cached"];
const CLIP_FIELDS = ["id", "reference", "driving", "driving_kind", "animator", "checkpoint"];  // first in an export
const $ = id => document.getElementById(id);
let shown = [], page = 0, open = null;

// Text

// Control, bidirectional and invisible characters are shown as their code: they could make a row read as another.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const clean = text => String(text).replace(
  HIDDEN, c => "⟨U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩");

function make(tag, fields = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== "")
    element.append(child instanceof Node ? child : clean(child));
  return element;
}

const plain = value => typeof value === "string" ? value : JSON.stringify(value);
const filmPlace = clip => clip.film_uri || clip.gone || (clip.film && `${data.output}/films/${clip.id}.${clip.film_key}.mp4`);
const metadata = clip => (clip.cells ? clip.cells.metadata : clip.metadata) || {};
const fields = clip => Object.entries(typeof metadata(clip) === "object" ? metadata(clip) : {});
const status = clip => clip.status.replace("_", " ");
const clock = seconds => `${Math.floor(seconds / 60).toLocaleString("en")}:${String(Math.round(seconds) % 60).padStart(2, "0")}`;
const number = value => Number(Number(value).toPrecision(3)).toString();

// Addresses: relative ones, files, http, and pictures in the page; nothing that runs.
const address = text => /^(\.\/|file:\/\/\/|https?:\/\/|data:image\/jpeg;base64,)/.test(text || "") ? text : null;
const picture = number => number === undefined ? null : address(data.pictures[number]);

// Marks: kept by this browser for this run; they go with the film, not with the row's number alone.

const STORE = "catwalk report " + data.output + " " + data.run;
const marks = new Map();
let keeps = true;

function identity(clip) { return clip.row + " " + (clip.film_key || clip.status); }

function loadMarks() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) || "{}");
    for (const clip of clips) if (["accept", "redo"].includes(kept[identity(clip)])) marks.set(clip, kept[identity(clip)]);
  } catch { keeps = false; }
}

function saveMarks() {
  const kept = {};
  for (const [clip, mark] of marks) kept[identity(clip)] = mark;
  try { localStorage.setItem(STORE, JSON.stringify(kept)); } catch { keeps = false; }
}

function setMark(some, mark) {
  for (const clip of some) mark ? marks.set(clip, mark) : marks.delete(clip);
  saveMarks();
  drawMarked();
  for (const buttons of document.querySelectorAll(".marks")) buttons.refresh();
}

function markButtons(clip, box) {
  const button = mark => make("button", {type: "button", class: mark, onclick: event => {
    event.stopPropagation();
    setMark([clip], marks.get(clip) === mark ? null : mark);
  }}, mark === "accept" ? "Accept" : "Redo");
  const both = GOOD.includes(clip.status) ? [button("accept"), button("redo")] : [button("redo")];
  const buttons = make("div", {class: "marks"}, both);
  buttons.refresh = () => {
    for (const one of both) one.setAttribute("aria-pressed", marks.get(clip) === one.className);
    if (box) for (const mark of ["accept", "redo"]) box.classList.toggle(mark, marks.get(clip) === mark);
  };
  buttons.refresh();
  return buttons;
}

function drawMarked() {
  const count = mark => [...marks.values()].filter(one => one === mark).length;
  const redo = count("redo"), accepted = count("accept");
  $("marked").textContent = `${accepted} accepted, ${redo} to redo` + (keeps ? "" : " (this browser keeps no marks: export them before you close the page)");
  $("jsonl").disabled = $("csv").disabled = !redo;
  $("accepted").disabled = !accepted;
}

// What is wrong with a film

const flagOf = sentence => (sentence.match(/^[^\d:]*/)[0].trim() || sentence).slice(0, 60);
const flags = clip => [...new Set((clip.review || []).map(flagOf)), ...(clip.warnings ? ["warnings"] : [])];
const frameIn = sentence => (/\bframe (\d+)/.exec(sentence) || [])[1];

function reasons(clip) {
  const why = [];
  if (clip.error) why.push(make("p", {class: "why"}, `${clip.stage ? clip.stage + ": " : ""}${clip.error}`),
                           make("p", {class: "why remedy"}, "→ " + (clip.remedy || "")));
  if (clip.review) why.push(make("p", {class: "why"}, clip.review.join(" · ")));
  else if (clip.warnings) why.push(make("p", {class: "why"}, clip.warnings.join(" · ")));
  return why;
}

function chip(clip) {
  const look = GOOD.includes(clip.status) && clip.review;
  return make("span", {class: "chip " + (look ? "review" : clip.status)}, look ? "look at it" : status(clip));
}

// Cards

function filmBox(clip) {
  const box = make("div", {class: "film"});
  const poster = address(clip.poster), film = address(clip.film);
  if (!poster && !film) {
    const why = clip.gone ? "the film is gone" : clip.film_uri ? clip.film_uri : "no film";
    box.append(make("span", {class: "none"}, why));
    return box;
  }
  if (poster) box.append(make("img", {loading: "lazy", decoding: "async", alt: "poster of " + clean(clip.id), src: poster}));
  const play = () => {
    if (!film || box.querySelector("video")) return;
    const video = make("video", {muted: true, loop: true, autoplay: true, playsInline: true, src: film});
    video.addEventListener("error", () => video.remove());
    box.append(video);
  };
  const stop = () => { const video = box.querySelector("video"); if (video) { video.removeAttribute("src"); video.load(); video.remove(); } };
  box.addEventListener("mouseenter", play);
  box.addEventListener("mouseleave", stop);
  if (!poster) play();
  return box;
}

function sourceBox(source, name, absent) {
  const box = make("div", {class: "source"});
  box.append(source ? make("img", {loading: "lazy", decoding: "async", alt: name, src: source}) : make("span", {class: "none"}, absent));
  box.append(make("small", {}, name));
  return box;
}

const referenceOf = clip => picture(clip.reference_picture) || address(clip.reference_file);
const drivingName = clip => "driving" + (clip.driving_frame === undefined ? "" : `, frame ${clip.driving_frame}`);
const absent = (clip, kind) => clip[kind + "_left"] || (clip[kind] || clip.cells && clip.cells[kind] ? "no picture" : "none");

function card(clip) {
  const box = make("article", {class: "card", tabIndex: 0});
  const detail = () => showDetail(clip);
  const nothing = !GOOD.includes(clip.status) && !referenceOf(clip) && !picture(clip.driving_picture);
  const media = nothing ? null : make("div", {class: "media", onclick: detail}, filmBox(clip), make("div", {class: "sources"},
    sourceBox(referenceOf(clip), "reference", absent(clip, "reference")),
    sourceBox(picture(clip.driving_picture), drivingName(clip), absent(clip, "driving"))));
  const facts = [clip.animator || (clip.cells || {}).animator, clip.width ? `${clip.width}×${clip.height}` : "",
                 clip.film_seconds ? `${number(clip.film_seconds)} s` : "", clip.seed ? `seed ${clip.seed}` : ""].filter(Boolean);
  const name = make("button", {type: "button", class: "link", tabIndex: -1, onclick: detail}, make("bdi", {}, clip.id || `row ${clip.row}`));
  box.append(...(media ? [media] : []), make("div", {class: "text"},
    make("div", {class: "name"}, name, chip(clip)),
    reasons(clip),
    make("p", {class: "meta"}, facts.join(" · ")),
    fields(clip).length ? make("p", {class: "meta"}, fields(clip).map(([name, value]) => `${name}: ${plain(value)}`).join(" · ")) : null,
    markButtons(clip, box)));
  box.addEventListener("keydown", event => {
    if (event.target !== box || event.ctrlKey || event.metaKey || event.altKey) return;
    const mark = {a: "accept", r: "redo", u: null};
    if (event.key === "Enter") detail();
    else if (event.key in mark && (event.key !== "a" || GOOD.includes(clip.status))) setMark([clip], mark[event.key]);
  });
  return box;
}

// Detail

function showDetail(clip) {
  open = clip;
  const dialog = $("detail"), film = address(clip.film);
  const video = film ? make("video", {controls: true, loop: true, muted: true, autoplay: true, playsInline: true, src: film}) : null;
  const figure = (content, caption) => make("figure", {}, content || make("p", {class: "none"}, "no picture"), make("figcaption", {}, caption));
  const image = (source, name) => source ? make("img", {src: source, alt: name}) : null;
  const full = address(clip.reference_file);
  const seek = frame => { if (video && clip.fps) { video.pause(); video.currentTime = (Number(frame) + 0.5) / clip.fps; } };
  const step = by => { const next = shown[shown.indexOf(clip) + by]; if (next) showDetail(next); };
  const at = shown.indexOf(clip);
  dialog.replaceChildren(
    make("div", {class: "head"},
      make("h2", {id: "detail-id"}, make("bdi", {}, clip.id || "row without id"), ` · row ${clip.row} · ${status(clip)}`),
      make("div", {class: "steps"}, make("button", {type: "button", disabled: at < 1, onclick: () => step(-1)}, "← before"),
        make("button", {type: "button", disabled: at < 0 || at + 1 >= shown.length, onclick: () => step(1)}, "next →"),
        make("button", {type: "button", onclick: () => dialog.close()}, "close"))),
    make("div", {class: "big"}, figure(video, clip.film_uri || clip.gone || "film"),
      figure(image(full || picture(clip.reference_picture), "reference"), "reference " + (clip.reference || "")),
      figure(image(picture(clip.driving_picture), "driving"), drivingName(clip) + " " + (clip.driving || "") +
        (clip.driving_left ? ": " + clip.driving_left : ""))),
    markButtons(clip),
    ...(clip.error ? [make("p", {class: "bad"}, make("b", {}, (clip.stage ? clip.stage + ": " : "") + clip.error), " → " + (clip.remedy || ""))] : []),
    ...(clip.review || []).map(sentence => make("p", {class: "look"}, sentence, " ", frameIn(sentence) === undefined ? null :
      make("button", {type: "button", class: "link", onclick: () => seek(frameIn(sentence))}, "show it"))),
    ...(clip.warnings || []).map(sentence => make("p", {class: "look"}, sentence)),
    curves(clip, video, seek),
    ...(clip.withheld ? [make("p", {class: "look"}, `${clip.withheld.join(", ")}: left out in part, as it may be secret; fill it in before the row is made again`)] : []),
    table(clip));
  if (!dialog.open) dialog.showModal();
}

function curves(clip, video, seek) {
  const names = new Set([...Object.keys(clip.quality || {}), ...Object.keys(clip.curves || {})]);
  return make("div", {class: "curves"}, [...names].map(name => curve(clip, name, video, seek)));
}

const SVG = "http://www.w3.org/2000/svg";
function drawn(tag, fields) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(fields)) element.setAttribute(name, value);
  return element;
}

function curve(clip, name, video, seek) {
  const measure = (clip.quality || {})[name], points = unpacked((clip.curves || {})[name]);
  const flagged = (clip.review || []).some(sentence => sentence.startsWith(name + " "));
  const frame = measure && typeof measure.frame === "number" ? measure.frame : null;
  const where = frame === null ? null : make("button", {type: "button", class: "link", onclick: () => seek(frame)}, `frame ${frame}`);
  const box = make("div", {class: "curve" + (flagged ? " flagged" : "")}, make("p", {}, make("span", {}, name.replaceAll("_", " ") + (measure ? " " + number(measure.value) : "")), where));
  if (points) {
    const [low, high, levels] = points;
    const svg = drawn("svg", {viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": `${name} from ${number(low)} to ${number(high)}`});
    svg.append(drawn("polyline", {points: levels.map((level, i) => `${(100 * (i + 0.5) / levels.length).toFixed(2)},${(38 - 36 * level / 255).toFixed(2)}`).join(" ")}));
    const line = (share, kind) => drawn("line", {class: kind, x1: 100 * share, x2: 100 * share, y1: 0, y2: 40});
    if (frame !== null && clip.frames) svg.append(line((frame + 0.5) / clip.frames, "at"));
    svg.addEventListener("click", event => {
      const area = svg.getBoundingClientRect();
      seek(Math.min(clip.frames - 1, Math.floor((event.clientX - area.left) / area.width * clip.frames)));
    });
    if (video) {
      const now = line(0, "now");
      svg.append(now);
      video.addEventListener("timeupdate", () => {
        const share = video.duration ? 100 * video.currentTime / video.duration : 0;
        now.setAttribute("x1", share); now.setAttribute("x2", share);
      });
    }
    box.append(svg, make("p", {class: "meta"}, `${number(low)} – ${number(high)}`));
  }
  return box;
}

function unpacked(packed) {
  if (!packed) return null;
  const [low, high, bytes] = packed;
  return [low, high, [...atob(bytes)].map(letter => letter.charCodeAt(0))];
}

function table(clip) {
  const own = clip.cells || {}, rows = [];
  const add = (name, value) => { if (value !== undefined && value !== null && value !== "") rows.push(make("tr", {}, make("th", {}, name), make("td", {}, plain(value)))); };
  for (const [name, value] of fields(clip)) add(name, value);
  for (const name of Object.keys(own)) if (!["id", "metadata"].includes(name)) add(name, own[name]);
  for (const name of ["seed", "steps", "mode", "animator", "reference", "driving"]) if (!(name in own)) add(name, clip[name]);
  add("film", filmPlace(clip));
  add("frames", clip.frames && `${clip.frames} at ${clip.fps} per second, ${clip.width}×${clip.height}`);
  add("made in", clip.seconds && `${clip.seconds} s` + (clip.gpu_seconds ? `, ${clip.gpu_seconds} GPU seconds` : ""));
  add("on", [clip.device, clip.host].filter(Boolean).join(", "));
  add("finished", clip.finished);
  return make("table", {}, rows);
}

// Filters

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

// Export: the rows as their owner wrote them, in what `catwalk manifest build` reads

function otherSeed(clip) {
  const next = (BigInt(clip.cells.seed ?? clip.seed ?? 0) + 1n) % 2n ** 63n;
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
const RUNS = /^'*[=+\-@\t\r]/, RUNS_INSIDE = /[;\t\r\n]\s*[=+\-@]/;

function csvCell(value) {
  if (typeof value === "number") return String(value);
  const text = value === undefined || value === null ? "" : plain(value);
  return `"${(RUNS.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;
}

function csv(rows) {
  const names = [...new Set([...CLIP_FIELDS, ...rows.flatMap(Object.keys)])].filter(name => rows.some(row => row[name] !== undefined));
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

// The page

const moment = text => text.replace("T", " ").replace("+00:00", " UTC");

function drawHead() {
  document.title = clean("Catwalk: " + data.run);
  $("title").textContent = clean("Run " + data.run);
  const films = clips.filter(clip => GOOD.includes(clip.status));
  const seconds = films.reduce((sum, clip) => sum + (clip.film_seconds || 0), 0);
  const look = films.filter(clip => clip.review).length;
  $("facts").textContent = clean([
    data.goes_on ? `${clips.length.toLocaleString("en")} of ${data.rows.toLocaleString("en")} rows so far` : `${clips.length.toLocaleString("en")} rows`,
    `${films.length.toLocaleString("en")} films, ${clock(seconds)} long`, ...(look ? [`${look.toLocaleString("en")} to look at`] : []),
    data.output, data.made ? "page made " + moment(data.made) : ""].filter(Boolean).join(" · "));
  const notes = [...(data.notes || [])];
  if (data.good_until) notes.push(`Links to films and posters are good until ${moment(data.good_until)}. Whoever has this page can open them: hand it on with care.`);
  if (clips.some(clip => clip.film_uri)) notes.push("The store signs no links here: films are named and cannot be played from this page. Copy them beside it, or write the page into the output.");
  if (clips.some(clip => clip.gone)) notes.push("Some films are no longer in the output.");
  $("notes").replaceChildren(...notes.map(note => make("li", {}, note)));
}

loadMarks();
drawHead();
drawFilters();
drawValues();
drawMarked();
draw();
for (const id of ["flag", "animator", "value", "mark", "order"]) $(id).addEventListener("input", draw);
$("name").addEventListener("input", () => { drawValues(); draw(); });
let typing = 0;
$("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(draw, 120); });
$("reset").addEventListener("click", () => {
  chosen.clear();
  for (const button of $("statuses").children) button.setAttribute("aria-pressed", "false");
  for (const id of ["search", "flag", "animator", "name", "value", "mark", "order"]) $(id).value = "";
  drawValues();
  draw();
});
$("bulk").addEventListener("input", event => {
  const mark = event.target.value, some = mark === "accept" ? shown.filter(clip => GOOD.includes(clip.status)) : shown;
  event.target.value = "";
  if (mark && (some.length <= PER_PAGE || confirm(`Mark ${some.length} clips?`))) setMark(some, mark === "none" ? null : mark);
});
$("jsonl").addEventListener("click", () => exportRedo("jsonl"));
$("csv").addEventListener("click", () => exportRedo("csv"));
$("accepted").addEventListener("click", exportAccepted);
$("detail").addEventListener("close", () => { open = null; for (const video of $("detail").querySelectorAll("video")) { video.removeAttribute("src"); video.load(); } });
$("detail").addEventListener("click", event => { if (event.target === $("detail")) $("detail").close(); });
document.addEventListener("keydown", event => {
  if (!open || ["INPUT", "SELECT", "VIDEO"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  const by = {ArrowLeft: -1, ArrowRight: 1}[event.key], next = by && shown[shown.indexOf(open) + by];
  if (next) showDetail(next);
  else if (event.key === "r") setMark([open], "redo");
  else if (event.key === "a" && GOOD.includes(open.status)) setMark([open], "accept");
  else if (event.key === "u") setMark([open], null);
});
document.documentElement.dataset.ready = "true";
