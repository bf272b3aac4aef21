// @openclaw/gateway-client as its README uses it. Reads {url, token, scopes, calls: [[method, params]]} from standard input;
// prints what each call gave, or why there is no connection. GATEWAY_CLIENT_FOLDER says where the package is.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { url, token, scopes, calls } = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(`${process.env.GATEWAY_CLIENT_FOLDER}/node_modules/`);
const { GatewayClient } = await import(pathToFileURL(require.resolve("@openclaw/gateway-client")));

const seen = { events: [] };
const connected = Promise.withResolvers();
// The releases of March speak protocol 3.
const client = new GatewayClient({
  url, token, scopes, role: "operator", minProtocol: 3, maxProtocol: 4,
  onHelloOk: (hello) => connected.resolve(hello),
  onConnectError: (error) => connected.reject(error),
  onEvent: (event) => seen.events.push(event.event),
});
client.start();
try {
  const hello = await connected.promise;
  seen.connected = { protocol: hello.protocol, scopes: hello.auth?.scopes };
  seen.calls = [];
  for (const [method, params] of calls) {
    seen.calls.push(await client.request(method, params).then((value) => ({ value }), (error) => ({ error: error.message })));
  }
} catch (error) {
  seen.failed = error.message;
}
client.stop();
console.log(JSON.stringify(seen));
process.exit(0);
