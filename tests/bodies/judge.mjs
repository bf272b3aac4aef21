// What Node makes of request bodies, read as the gateway reads them (`readJsonBodyWithLimit`): bytes to
// UTF-8, trimmed, `{}` where nothing is left, else `JSON.parse`.
//
// One body a line on standard input, as base64; one JSON answer a line on standard output: the members of
// the object and those of its `args`, or null where there is none.
import { createInterface } from "node:readline";

const members = (value) =>
  value && typeof value === "object" && !Array.isArray(value) ? Object.entries(value).map(([k, v]) => [k, JSON.stringify(v)]) : null;

for await (const line of createInterface({ input: process.stdin })) {
  const trimmed = Buffer.from(line, "base64").toString("utf-8").trim();
  let value;
  try {
    value = trimmed ? JSON.parse(trimmed) : {};
  } catch {
    value = undefined;
  }
  console.log(JSON.stringify({ members: members(value), args: members(value?.args) }));
}
