// Lines over the last minutes in an SVG: one unit of width is one sample, the newest at the right.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
// Room for the stroke at the top and the bottom.
const MARGIN = 3;

/** Draws series of numbers, each `{name, values}`, into `svg`; their names are CSS classes. */
export function draw(svg, series, samplesMax) {
  const width = samplesMax - 1;
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const top = Math.max(1, ...series.flatMap(({ values }) => values));
  svg.classList.toggle("idle", top === 1);
  for (const { name, values } of series) {
    const line = values.map((value, index) => {
      const x = width - (values.length - 1 - index);
      const y = HEIGHT - MARGIN - (value / top) * (HEIGHT - 2 * MARGIN);
      return `${x} ${y.toFixed(1)}`;
    });
    const start = width - (values.length - 1);
    const area = [`${start} ${HEIGHT}`, ...line, `${width} ${HEIGHT}`];
    path(svg, `area ${name}`, values.length > 1 ? `M${area.join("L")}Z` : "");
    path(svg, `line ${name}`, values.length > 1 ? `M${line.join("L")}` : "");
  }
}

function path(svg, classes, data) {
  let found = svg.querySelector(`path[class="${classes}"]`);
  if (!found) {
    found = document.createElementNS(SVG, "path");
    found.setAttribute("class", classes);
    found.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(found);
  }
  found.setAttribute("d", data);
}
