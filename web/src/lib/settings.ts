import type { Setting } from "../api/types";

/** Returns whether a setting's value is not told. */
export function isSecret(setting: Pick<Setting, "value">): boolean {
  return setting.value === null || setting.value === undefined;
}

/** Returns what is shown as a setting's value. */
export function settingText(setting: Pick<Setting, "value">): string {
  if (isSecret(setting)) return "hidden";
  return setting.value === "" ? "empty" : (setting.value ?? "");
}

/** Returns whether somebody chose a setting. */
export function isChanged(setting: Pick<Setting, "origin">): boolean {
  return setting.origin !== "default";
}

/** Returns the settings in whose path, value or origin every word occurs. */
export function findSettings(settings: Setting[], search: string): Setting[] {
  const words = search
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  return settings.filter((setting) => {
    const text = `${setting.path} ${settingText(setting)} ${setting.origin}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
