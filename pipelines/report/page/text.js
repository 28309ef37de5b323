"use strict";
// The parts that all others use. Whatever a row holds becomes text nodes and checked addresses, never HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const clips = data.clips, GOOD = ["done", "cached"];
const $ = id => document.getElementById(id);

// Control, bidirectional and invisible characters are shown as their code: they could make a row read as another.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
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
const clock = seconds => {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60).toLocaleString("en")}:${String(whole % 60).padStart(2, "0")}`;
};
const number = value => Number(Number(value).toPrecision(3)).toString();

// Relative addresses, files, http, and pictures in the page; nothing that runs.
const address = text => /^(\.\/|file:\/\/\/|https?:\/\/|data:image\/jpeg;base64,)/.test(text || "") ? text : null;
const picture = number => number === undefined ? null : address(data.pictures[number]);
