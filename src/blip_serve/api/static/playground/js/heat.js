// A word's map over the picture: colour and opacity both say how much.

import { replace } from "./dom.js";

// Viridis, at nine even places: people who see no red or no green read it too.
const RAMP = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"].map((hex) =>
  [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);
const SIDE = 192; // pixels of the longer side; the browser stretches them smoothly
const OPACITY = 0.8;

const FULL = 1 / 3; // of the caption's largest maximum: from there on a map shows in full
const FAINTEST = 0.15; // of that

/**
 * Lays a map over the panel's picture, or over neutral ground where the picture is not shown.
 * @param {any} panel of picturePanel
 * @param {number[][]} map rows of numbers from 0 to 1, over the upright picture
 * @param {string} label what it is the map of, in words
 * @param {{width: number, height: number}} [size] the picture's, for one that the page has not seen
 * @param {number} [weight] the map's maximum, as a part of the largest of the caption: every map's own peak is 1
 */
export function showHeat(panel, map, label, size, weight = 1) {
  const { heat, heatNote, picture } = panel;
  const [width, height] = picture?.width ? [picture.width, picture.height] : [size?.width ?? 1, size?.height ?? 1];
  const scale = SIDE / Math.max(width, height);
  heat.width = Math.max(1, Math.round(width * scale));
  heat.height = Math.max(1, Math.round(height * scale));
  draw(heat, map, OPACITY * Math.max(FAINTEST, Math.min(1, weight / FULL)));
  replace(heatNote, label);
  heatNote.hidden = false;
  heat.classList.add("shown");
}

/** Takes the heat away; the style says how fast. */
export function clearHeat(panel) {
  panel.heat.classList.remove("shown");
  panel.heatNote.hidden = true;
}

/** Where a map is strongest, in words: "upper left", "upper", "middle". @param {number[][]} map */
export function strongest(map) {
  let [best, row, column] = [0, -1, -1];
  map.forEach((values, y) => values.forEach((value, x) => value > best && ([best, row, column] = [value, y, x])));
  if (row < 0) return "nowhere";
  const down = ["upper", "", "lower"][third(row, map.length)];
  const across = ["left", "", "right"][third(column, map[0].length)];
  return `${down} ${across}`.trim() || "middle";
}

/** In which third of `cells` the middle of a cell lies. */
const third = (cell, cells) => Math.floor(((2 * cell + 1) * 3) / (2 * cells));

function draw(canvas, map, opacity) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = between(map, (x + 0.5) / width, (y + 0.5) / height);
      image.data.set([...colour(value), 255 * opacity * value], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
}

/** The map at a place (0 to 1 each way), bilinear between the middles of its cells. */
function between(map, x, y) {
  const [left, right, across] = around(x, map[0].length);
  const [top, bottom, down] = around(y, map.length);
  const upper = map[top][left] * (1 - across) + map[top][right] * across;
  const lower = map[bottom][left] * (1 - across) + map[bottom][right] * across;
  return upper * (1 - down) + lower * down;
}

function around(place, cells) {
  const at = Math.min(Math.max(place * cells - 0.5, 0), cells - 1);
  const before = Math.floor(at);
  return [before, Math.min(before + 1, cells - 1), at - before];
}

function colour(value) {
  const at = Math.min(Math.max(value, 0), 1) * (RAMP.length - 1);
  const before = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[before].map((part, i) => part + (RAMP[before + 1][i] - part) * (at - before));
}
