import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env.TINYOBS_URL ?? "http://127.0.0.1:8080";

// The server replaces the nonce placeholder in index.html with a fresh value for every response.
export default defineConfig({
  plugins: [react()],
  html: { cspNonce: "__CSP_NONCE__" },
  server: {
    host: "127.0.0.1",
    port: 5173,
    proxy: {
      "/api": server,
      "/-/": server,
      "/metrics": server,
      "/v1": { target: server, ws: true },
    },
  },
  build: {
    target: "es2022",
    // Inlined assets would be data: URLs, which the content security policy does not allow.
    assetsInlineLimit: 0,
    sourcemap: false,
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
});
