import { useComputedColorScheme } from "@mantine/core";
import type { Theme } from "../lib/colors";

/** Returns the theme that is drawn at present. */
export function useTheme(): Theme {
  return useComputedColorScheme("light", { getInitialValueInEffect: false });
}
