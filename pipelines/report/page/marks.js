// Marks are kept by this browser for this run; they go with the film, not with the row's number alone.

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
