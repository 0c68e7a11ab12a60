/**
 * Colours of series. The order keeps neighbours apart for all common kinds of colour blindness (after
 * Okabe and Ito), with lightness chosen for each theme.
 */

/** The two ways the page is drawn. */
export type Theme = "light" | "dark";

const LIGHT = [
  "#1f6fd6",
  "#e07b00",
  "#00926b",
  "#c2479b",
  "#6a5acd",
  "#a67c00",
  "#2aa3d4",
  "#c9402b",
  "#5c6b7a",
  "#7a9a01",
];

const DARK = [
  "#5b9dff",
  "#f5a33b",
  "#2fc798",
  "#e581c0",
  "#a597ff",
  "#e3c64a",
  "#62cdf5",
  "#f2735f",
  "#9fb0c0",
  "#b2d235",
];

/** Returns the colour of the series at an index; the palette repeats. */
export function seriesColor(index: number, theme: Theme): string {
  const palette = theme === "dark" ? DARK : LIGHT;
  return palette[index % palette.length] ?? "#888888";
}

/** Returns a colour `#rrggbb` with an opacity from 0 to 1. */
export function withAlpha(color: string, alpha: number): string {
  const level = Math.round(Math.min(1, Math.max(0, alpha)) * 255);
  return `${color}${level.toString(16).padStart(2, "0")}`;
}

/** Returns a colour that stays in the background, for what is left over. */
export function mutedColor(theme: Theme): string {
  return theme === "dark" ? "#4d5867" : "#b4bfcc";
}
