// What a release of the gateway makes of request paths: its own code, cut out of its bundle by the
// names of the source files that the bundle keeps.
//
//   node judge.mjs node_modules/openclaw/dist
//
// One JSON question a line on standard input, {"path": "/…", "routes": [{"path": "/…", "match": "prefix"}]};
// one JSON answer a line on standard output.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

// In the order they build on each other; those with a question mark are not in every release.
const SOURCES = [
  "?packages/normalization-core/src/string-coerce.ts",
  "src/gateway/security-path.ts",
  "src/gateway/server/plugins-http/path-context.ts",
  "src/gateway/server/plugins-http/route-match.ts",
  "?src/pairing/join-code.ts",
];

const dist = process.argv[2];
const found = new Map();
for (const name of readdirSync(dist)) {
  if (!/\.m?js$/.test(name)) continue;
  const text = readFileSync(join(dist, name), "utf8");
  for (const [, path, body] of text.matchAll(/^\/\/#region (\S+)\n([\s\S]*?)^\/\/#endregion/gm)) {
    // A source may be split over bundles; the longest part has the functions.
    if (body.length > (found.get(path)?.length ?? 0)) found.set(path, body);
  }
}
const parts = SOURCES.map((source) => {
  const path = source.replace(/^\?/, "");
  if (!found.has(path) && !source.startsWith("?")) {
    console.error(`${dist} holds no ${path}: look where this release matches its plugins' routes`);
    process.exit(1);
  }
  return found.get(path) ?? "";
});
const code = parts.join("\n");
const names = ["resolvePluginRoutePathContext", "findMatchingPluginHttpRoutes", "canonicalizePathVariant"];
const optional = "parseDevicePairingJoinRequestPath";
const gateway = new Function(
  `"use strict";\n${code}\nreturn { ${names.join(", ")}, join: typeof ${optional} === "function" ? ${optional} : undefined };`,
)();

for await (const line of createInterface({ input: process.stdin })) {
  const { path, routes } = JSON.parse(line);
  // What the gateway's server does with a request's target first.
  const pathname = new URL(path, "http://localhost").pathname;
  const context = gateway.resolvePluginRoutePathContext(pathname);
  const registry = { httpRoutes: routes.map((route, index) => ({ ...route, index })) };
  console.log(
    JSON.stringify({
      candidates: context.candidates,
      limit: context.decodePassLimitReached,
      matched: gateway.findMatchingPluginHttpRoutes(registry, context).map((route) => route.index),
      canonical: routes.map((route) => gateway.canonicalizePathVariant(route.path)),
      join: gateway.join ? gateway.join(pathname) !== null : null,
    }),
  );
}
