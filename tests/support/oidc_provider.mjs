// A real OpenID provider on loopback. It has one client, who gets JWTs for the resource `openclaw` with
// the client_credentials grant. Prints its issuer once it listens.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { createServer } from "node:http";

const folder = process.env.JOSE_FOLDER;
const require = createRequire(join(folder, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { default: Provider } = await load("oidc-provider");
const { generateKeyPair, exportJWK } = await load("jose");

const keys = [];
for (const alg of ["RS256", "PS256", "ES256", "EdDSA"]) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  keys.push({ ...await exportJWK(privateKey), alg, use: "sig", kid: alg });
}

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys },
    scopes: ["operator.read", "operator.write"],
    clients: [{
      client_id: process.env.CLIENT_ID, client_secret: process.env.CLIENT_SECRET,
      grant_types: ["client_credentials"], redirect_uris: [], response_types: [],
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "urn:openclaw",
        // The algorithm is the last part of the resource, so that a test can ask for each.
        getResourceServerInfo: (_ctx, resource) => ({
          scope: "operator.read operator.write", audience: "openclaw", accessTokenFormat: "jwt",
          jwt: { sign: { alg: resource.split(":")[2] ?? "RS256" } },
        }),
        useGrantedResource: () => true,
      },
    },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
