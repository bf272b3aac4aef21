// Tokens made by the library `jose`: reads {alg: [private key in PKCS8 PEM or secret, kid, claims]} from
// standard input, writes {alg: token}.
import { createRequire } from "node:module";
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.JOSE_FOLDER, "package.json"));
const { SignJWT, importPKCS8 } = await import(pathToFileURL(require.resolve("jose")));
const tokens = {};
for (const [alg, [key, kid, claims]] of Object.entries(JSON.parse(readFileSync(0, "utf8")))) {
  const signer = alg.startsWith("HS") ? new TextEncoder().encode(key) : await importPKCS8(key, alg);
  tokens[alg] = await new SignJWT(claims).setProtectedHeader({ alg, kid, typ: "at+jwt" }).sign(signer);
}
console.log(JSON.stringify(tokens));
