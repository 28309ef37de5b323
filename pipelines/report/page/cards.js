// A clip in the overview: its pictures, what is wrong with it, its marks.

const flagOf = sentence => (/^(\S+) -?[\d.]+/.exec(sentence) || [, sentence])[1].slice(0, 60);  // "flicker 0.7 > 0.5 …"
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
