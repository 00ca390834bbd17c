// What the built client does without a browser: with keys of its own in place of the daemon's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { entitled, show } from "../dist/entitled-visual.js";

const b64 = (it) => Buffer.from(it).toString("base64url");
const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
const jwk = { ...(await crypto.subtle.exportKey("jwk", pair.publicKey)), kid: "k1" };
const NOW = 1_800_000_000_000;
let n = 0;

async function token(more = {}, kid = "k1") {
  const claims = { iss: "https://lic.test", aud: "panel", iat: NOW / 1000, exp: NOW / 1000 + 86_400,
    product: "panel", state: "active", usable: true, notice: null, ...more };
  const text = `${b64(JSON.stringify({ alg: "ES256", kid }))}.${b64(JSON.stringify(claims))}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, Buffer.from(text));
  return `${text}.${b64(new Uint8Array(signature))}`;
}

/** A daemon: answers by path; each test has a url of its own, since keys are kept by url. */
function daemon(answer) {
  const url = `https://d${++n}.test`;
  const seen = { questions: [], keys: 0 };
  const fetch = async (to, init) => {
    if (to.endsWith("jwks.json")) {
      seen.keys += 1;
      return new Response(JSON.stringify({ keys: [jwk] }));
    }
    seen.questions.push(init);
    return answer(seen.questions.length);
  };
  return { seen, options: { url, issuer: "https://lic.test", product: "panel", host: "web", now: () => NOW, fetch } };
}
const ok = async (more, kid) => new Response(JSON.stringify({ token: await token(more, kid), check_after: 3600 }));

test("a question without a token spares the preflight, one with a token carries it", async () => {
  const { seen, options } = daemon(() => ok());
  await entitled(options);
  await entitled({ ...options, token: "a.b.c" });
  assert.equal(seen.questions[0].headers.Authorization, undefined);
  assert.equal(seen.questions[0].headers["Content-Type"], "text/plain");
  assert.equal(seen.questions[1].headers.Authorization, "Bearer a.b.c");
  assert.equal(seen.keys, 1);
});

test("an answer for another product, of another issuer or of no form is not believed", async () => {
  for (const [more, error] of [[{ aud: "else" }, "audience"], [{ iss: "https://x.test" }, "issuer"], [{ exp: 1 }, "clock"]]) {
    const found = await entitled(daemon(() => ok(more)).options);
    assert.deepEqual([found.usable, found.error], [false, error]);
  }
  for (const body of ["", "null", "{}", '{"token":"x"}', '{"token":"a.b.c"}']) {
    const found = await entitled(daemon(() => new Response(body)).options);
    assert.deepEqual([found.usable, found.error], [false, "form"], body);
  }
});

test("an unknown key id is looked up once", async () => {
  const { seen, options } = daemon(() => ok({}, "k9"));
  for (let i = 0; i < 3; i++) assert.equal((await entitled(options)).error, "key");
  assert.equal(seen.keys, 1);
});

test("check_after and Retry-After are honoured, and the last valid answer counts meanwhile", async () => {
  let at = NOW;
  const busy = () => new Response("{}", { status: 429, headers: { "Retry-After": "600" } });
  const { seen, options } = daemon((count) => (count === 1 ? ok() : busy()));
  const ask = () => entitled({ ...options, now: () => at });
  assert.equal((await ask()).from, "fresh");
  at += 3_500_000;
  assert.equal((await ask()).from, "kept");
  at += 600_000;
  const busyNow = await ask();
  assert.deepEqual([busyNow.usable, busyNow.from, busyNow.error], [true, "offline", "429"]);
  at += 590_000;
  assert.equal((await ask()).from, "kept");
  assert.equal(seen.questions.length, 2);
});

test("storage that throws, hangs or holds nonsense costs nothing but time", async () => {
  const storages = [
    { get() { throw new Error("get"); }, set() { throw new Error("set"); } },
    { get: () => new Promise(() => {}), set: () => new Promise(() => {}) },
    { get: async () => "nonsense{", set: async () => {} },
  ];
  for (const storage of storages) {
    const found = await entitled({ ...daemon(() => ok()).options, storage });
    assert.deepEqual([found.usable, found.from], [true, "fresh"]);
  }
});

test("a notice is shown in Power BI's terms, and the other overlay is tried", async () => {
  const told = [];
  const notifier = {
    notifyLicenseRequired: async (it) => (told.push(it), it !== 2),
    notifyFeatureBlocked: async (it) => (told.push(it), true),
    clearLicenseNotification: async () => (told.push("clear"), true),
  };
  const notice = (type) => ({ type, reason: "x", text: "t".repeat(600), language: "en", days_left: null });
  await show(notifier, notice("VisualIsBlocked"));
  await show(notifier, notice("UnsupportedEnv"));
  await show(notifier, notice("General"));
  await show(notifier, null);
  assert.deepEqual(told, [2, 1, 1, 0, "clear"]);
  await show(notifier, notice("FeatureBanner"));
  assert.equal(told.at(-1).length, 500);
  await show({ ...notifier, clearLicenseNotification: () => { throw new Error("no"); } }, null);
});
