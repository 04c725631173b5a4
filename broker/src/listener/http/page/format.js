// Quantities as text, the way the command line writes them.

const whole = new Intl.NumberFormat("en");
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** 27,004 */
export const count = (number) => whole.format(Math.round(number));

/** 2.5 MB: three digits at most, in decimal units. */
export function bytes(number) {
  let unit = 0;
  while (number >= 999.5 && unit < UNITS.length - 1) {
    number /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || number >= 99.95 ? 0 : 1;
  return `${number.toFixed(digits)} ${UNITS[unit]}`;
}

/** 3 d 4 h, 5 min 6 s, 6 s: the two largest units, or as many as asked for. */
export function duration(ms, units = 2) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + units).filter(([number]) => number > 0);
  return shown.map(([number, unit]) => `${number} ${unit}`).join(" ");
}

/** 3 d: enough for what is over. */
export const age = (ms) => duration(ms, 1);

/** 1 topic, 2 topics */
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A rate that is nothing is a dash: what moves stands out. */
export const rate = (number, unit) => (number < 0.5 ? "–" : `${unit(number)}/s`);
