import { createTheme, type MantineColorsTuple } from "@mantine/core";

const brand: MantineColorsTuple = [
  "#edf4ff",
  "#d9e6ff",
  "#b0caff",
  "#84abff",
  "#5b8ff9",
  "#447df4",
  "#2f6fed",
  "#245dd0",
  "#1b4fb8",
  "#0f429f",
];

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const MONO = 'ui-monospace, SFMono-Regular, "DejaVu Sans Mono", Menlo, Consolas, monospace';

/** The look of Mantine's components: compact, in the page's own colours. */
export const theme = createTheme({
  primaryColor: "brand",
  colors: { brand },
  fontFamily: FONT,
  fontFamilyMonospace: MONO,
  defaultRadius: "md",
  cursorType: "pointer",
  fontSizes: { xs: "11px", sm: "13px", md: "14px", lg: "16px", xl: "18px" },
  components: {
    Tooltip: { defaultProps: { openDelay: 300, withArrow: false, fz: "xs" } },
  },
});
