// One clip, large: the film with the curves of its measures, and all that is known of its row.

let open = null;

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
