// The head of the page, and what happens when something is touched.

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
