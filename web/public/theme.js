// Runs before the first paint, so that a dark page never flashes white.
(() => {
  let choice = "auto";
  try {
    choice = localStorage.getItem("tinyobs-theme") || "auto";
  } catch {
    // Storage can be blocked; the system's preference is a good answer then.
  }
  const dark =
    choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
