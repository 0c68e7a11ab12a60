import { localStorageColorSchemeManager, MantineProvider } from "@mantine/core";
import "./styles/mantine.css";
import "./styles/theme.css";
import "./styles/shell.css";
import "./styles/chart.css";
import "./styles/overview.css";
import "./styles/explore.css";
import "./styles/admin.css";
import "./styles/events.css";
import "./styles/pulls.css";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError } from "./api/client";
import { App } from "./app";
import { styleNonce } from "./components/nonce";
import { theme } from "./theme";

const RETRIES_MAX = 2;

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // What the server refused stays refused; a lost connection may come back.
      retry: (failures, error) => !(error instanceof ApiError) && failures < RETRIES_MAX,
      refetchOnWindowFocus: false,
      networkMode: "always",
    },
  },
});

const colorScheme = localStorageColorSchemeManager({ key: "tinyobs-theme" });

const root = document.getElementById("root");
if (!root) throw new Error("the page has no element with the id root");
createRoot(root).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      colorSchemeManager={colorScheme}
      defaultColorScheme="auto"
      getStyleNonce={styleNonce}
    >
      <QueryClientProvider client={queries}>
        <App />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);
