// What the built client does without a browser: with keys of its own in place of the daemon's.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { entitled, show } from "../dist/entitled-visual.js";

const b64 = (it) => Buffer.from(it).toString("base64url");
const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
const jwk = { ...(await crypto.subtle.exportKey("jwk", pair.publicKey)), kid: "k1" };
const NOW = 1_800_000_000_000;
let n = 0;

const ANSWER = { product: "panel", state: "active", usable: true, notice: null, check_after: 3600, exp: NOW / 1000 + 86_400 };
async function token(more = {}, kid = "k1", typ = "JWT", about = ANSWER) {
  const claims = { iss: "https://lic.test", aud: "panel", iat: NOW / 1000, ...about, ...more };
  const text = `${b64(JSON.stringify({ alg: "ES256", kid, typ }))}.${b64(JSON.stringify(claims))}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, Buffer.from(text));
  return `${text}.${b64(new Uint8Array(signature))}`;
}

const MONTH = 30 * 86_400;
const CARRIED = { license: "L-1", kind: "user", features: ["maps"], exp: NOW / 1000 + MONTH };
const packaged = (more = {}, kid = "k1") => token(more, kid, "entitled-package+jwt", CARRIED);
/** As the daemon makes it: base64url of 12 bytes of a hash. */
const marked = (license) => createHash("sha256").update("entitled revocation\n" + license).digest().subarray(0, 12).toString("base64url");
const listed = (revoked, more = {}) =>
  token(more, "k1", "entitled-revocations+jwt", { aud: undefined, revoked: revoked.map(marked), exp: NOW / 1000 + 7 * 86_400 });
const down = () => { throw new Error("down"); };
/** A visual's storage. */
function storage() {
  const all = new Map();
  return { all, get: async (key) => all.get(key) ?? null, set: async (key, value) => { all.set(key, value); } };
}

/** A daemon: answers by path; each test has a url of its own, since keys are kept by url. */
function daemon(answer, more = {}) {
  const url = `https://d${++n}.test`;
  const seen = { questions: [], keys: 0 };
  const fetch = async (to, init) => {
    if (to.endsWith("jwks.json")) {
      seen.keys += 1;
      return more.jwks ? more.jwks(init) : new Response(JSON.stringify({ keys: [jwk] }));
    }
    if (to.endsWith("revocations")) return more.list ? new Response(await more.list()) : down();
    seen.questions.push(init);
    return answer(seen.questions.length);
  };
  return { seen, options: { url, issuer: "https://lic.test", product: "panel", host: "web", now: () => NOW, fetch } };
}
const ok = async (more, kid) => new Response(JSON.stringify({ token: await token(more, kid) }));

test("a question without a token spares the preflight, one with a token carries it", async () => {
  const { seen, options } = daemon(() => ok());
  await entitled(options);
  await entitled({ ...options, token: "a.b.c" });
  assert.deepEqual(seen.questions[0].headers, {}, "a text by itself is text/plain");
  assert.equal(typeof seen.questions[0].body, "string");
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

test("an unknown key id is looked up once past every cache, and again after five minutes", async () => {
  const { seen, options } = daemon(() => ok({}, "k9"));
  let at = NOW;
  const ask = () => entitled({ ...options, now: () => at });
  for (let i = 0; i < 3; i++) {
    assert.equal((await ask()).error, "key");
    at += 60_000;
  }
  assert.deepEqual([seen.keys, seen.questions.length], [2, 3]);
  at += 300_000;
  assert.equal((await ask()).error, "key");
  assert.equal(seen.keys, 4);
});

test("a new key signs at once, while a cache on the way still hands out the old set", async () => {
  const old = { ...jwk, kid: "k0" };
  const jwks = ({ cache }) => new Response(JSON.stringify({ keys: cache === "no-cache" ? [jwk, old] : [old] }));
  const { seen, options } = daemon(() => ok(), { jwks });
  assert.equal((await entitled(options)).from, "fresh");
  assert.equal(seen.keys, 2);
});

test("a key that is not there yet is there after five minutes", async () => {
  let set = [];
  const { options } = daemon(() => ok(), { jwks: () => new Response(JSON.stringify({ keys: set })) });
  assert.equal((await entitled(options)).error, "key");
  set = [jwk];
  assert.equal((await entitled({ ...options, now: () => NOW + 301_000 })).from, "fresh");
});

test("whoever shows a license or a package is counted by an id that lives for 29 days", async () => {
  const { seen, options } = daemon(() => new Response("{}", { status: 500 }));
  const store = storage();
  const id = async (more) => {
    await entitled({ ...options, storage: store, host: 16, package: await packaged(), ...more });
    return JSON.parse(seen.questions.at(-1).body).anonymous_id;
  };
  const first = await id({ capacity: "P1" });
  assert.match(first, /^[\d,]{7,}$/);
  assert.equal(JSON.parse(seen.questions[0].body).capacity, "P1");
  assert.equal(await id({ host: 1 }), first);
  assert.equal(await id({ package: undefined, license: { id: "L-1", licensee: "Contoso" } }), first);
  assert.equal(await id({ host: 4, now: () => NOW + 28 * 86_400_000 }), first);
  const next = await id({ host: 4, now: () => NOW + 30 * 86_400_000 });
  assert.match(next, /^[\d,]{7,}$/);
  assert.notEqual(next, first);
  for (const more of [
    { host: 2 }, { host: 3 }, { host: "publish_to_web" }, { storage: undefined, host: 8 }, { package: undefined },
    { storage: { get: async () => null, set: async () => {} }, host: 9 }, { storage: { get: down, set: down }, host: 32 },
  ]) {
    assert.equal(await id(more), undefined, JSON.stringify(more));
  }
  assert.equal(seen.questions.length, 12, "each asked");
});

test("a package speaks for itself where nobody answers, until its next payment date", async () => {
  const tampered = (await packaged()).split(".").map((it, at) => (at === 1 ? b64(JSON.stringify({ ...CARRIED, aud: "panel" })) : it)).join(".");
  const cases = [
    ["package network", {}, {}],
    ["package network", { exp: undefined }, {}],
    ["none expired", { exp: NOW / 1000 }, {}],
    ["none expired", { exp: null }, {}],
    ["none audience", { aud: "else" }, {}],
    ["none issuer", { iss: "https://x.test" }, {}],
    ["none clock", { iat: NOW / 1000 + 400 }, {}],
    ["none signature", {}, { package: tampered }],
    ["none form", {}, { package: "junk" }],
    ["none form", {}, { package: await token() }],
    ["none network", {}, { keys: undefined }],
    ["none host", { kind: "site" }, {}],
    ["package network", { kind: "site" }, { host: 9 }],
    ["package network", { kind: "site" }, { host: "embed" }],
  ];
  for (const [expected, more, options] of cases) {
    const it = { ...daemon(down, { jwks: down }).options, host: 16, keys: [jwk], package: await packaged(more), ...options };
    const found = await entitled(it);
    assert.equal(`${found.from} ${found.error}`, expected, JSON.stringify([more, options]));
    assert.equal(found.usable, found.from === "package");
    assert.equal(found.answer === null, !found.usable);
  }
  const { answer } = await entitled({ ...daemon(down).options, keys: [jwk], package: await packaged() });
  assert.deepEqual([answer.features, answer.source, answer.state], [["maps"], "direct", "active"]);
  assert.deepEqual([answer.period_end, answer.valid_until], Array(2).fill(new Date(NOW + MONTH * 1000).toISOString()));
  const forever = await entitled({ ...daemon(down).options, keys: [jwk], package: await packaged({ exp: undefined }) });
  assert.equal(forever.answer.valid_until, null);
});

test("a package is no answer, and an answer without an end is none", async () => {
  const sent = async (it) => new Response(JSON.stringify({ token: await it }));
  for (const [it, error] of [[packaged({ usable: true }), "form"], [token({ exp: undefined }), "clock"]]) {
    const found = await entitled(daemon(() => sent(it)).options);
    assert.deepEqual([found.usable, found.error], [false, error]);
  }
});

test("what a daemon answers overrides the package, and it is asked again", async () => {
  let at = NOW;
  const refused = { usable: false, state: "expired", exp: NOW / 1000 + 3600 };
  const { seen, options } = daemon((count) => (count === 1 ? down() : ok(refused)));
  const mine = await packaged();
  const ask = () => entitled({ ...options, keys: [jwk], package: mine, now: () => at });
  assert.equal((await ask()).from, "package");
  at += 590_000;
  const resting = await ask();
  assert.deepEqual([resting.from, resting.usable, resting.error], ["package", true, "network"]);
  assert.equal(seen.questions.length, 1, "it waits not for who did not answer");
  at += 90_000;
  const told = await ask();
  assert.deepEqual([told.from, told.usable], ["fresh", false]);
  const kept = await ask();
  assert.deepEqual([kept.from, kept.usable], ["kept", false]);
});

test("a package on the list of revoked licenses is refused, from then on", async () => {
  const cases = [
    ["package", () => listed(["L"])],
    ["none", (id) => listed(["L", id])],
    ["package", async (id) => (await listed([id])).slice(0, -8) + "AAAAAAAA"],
    ["package", (id) => listed([id], { iss: "https://x.test" })],
    ["package", (id) => listed([id], { exp: 1 })],
    ["package", (id) => token({ revoked: [marked(id)] })],
    ["package", () => "junk"],
  ];
  for (const [at, [from, list]] of cases.entries()) {
    const license = "L-" + at;
    const it = { keys: [jwk], package: await packaged({ license }), storage: storage() };
    const found = await entitled({ ...daemon(down, { list: () => list(license) }).options, ...it });
    assert.deepEqual([found.from, found.error], from === "none" ? ["none", "revoked"] : ["package", "network"], String(list));
    // Another frame, another package of the same license, and no list: what the storage holds counts.
    const frame = await import("../dist/entitled-visual.js?" + at);
    const again = { ...daemon(down).options, ...it, package: await packaged({ license, iat: NOW / 1000 - 9 }) };
    assert.equal((await frame.entitled(again)).from, from);
  }
});

test("the list is looked at too while the daemon answers", async () => {
  const store = storage();
  const { options } = daemon((count) => (count === 1 ? ok() : down()), { list: () => listed(["L-7"]) });
  const ask = (at) => entitled({ ...options, keys: [jwk], package: mine, storage: store, now: () => at });
  const mine = await packaged({ license: "L-7" });
  assert.equal((await ask(NOW)).from, "fresh");
  while (![...store.all.values()].includes("1")) await new Promise((done) => setTimeout(done, 5));
  const later = await ask(NOW + 86_400_001);
  assert.deepEqual([later.from, later.usable, later.error], ["none", false, "revoked"]);
});

test("a daemon that fails is not asked again at once, also by another frame", async () => {
  const store = storage();
  const { seen, options } = daemon(() => new Response("{}", { status: 503, headers: { "Retry-After": "100" } }));
  const ask = (after) => entitled({ ...options, storage: store, now: () => NOW + after });
  for (const after of [0, 0, 99_000]) assert.deepEqual(await ask(after), { usable: false, answer: null, from: "none", error: "503" });
  assert.equal(seen.questions.length, 1);
  await ask(111_000);
  assert.equal(seen.questions.length, 2);
  // A clock that was put right has waited long enough.
  store.all.clear();
  await ask(-48 * 3_600_000);
  assert.equal(seen.questions.length, 3);
});

test("when to ask again is what was signed", async () => {
  const answer = async () => new Response(JSON.stringify({ token: await token({ check_after: 100 }), check_after: 1e9 }));
  const { seen, options } = daemon(answer);
  const ask = (after) => entitled({ ...options, now: () => NOW + after });
  for (const [after, asked] of [[0, 1], [99_000, 1], [111_000, 2]]) {
    await ask(after);
    assert.equal(seen.questions.length, asked);
  }
});

test("a notice is shown once, however often the visual asks", async () => {
  const told = [];
  const notifier = { notifyLicenseRequired: async (it) => (told.push(it), true), clearLicenseNotification: async () => told.push("clear") };
  let notice = null;
  const { options } = daemon(() => ok({ notice, check_after: 1 }));
  let at = NOW;
  for (const next of [null, null, { type: "General" }, { type: "General" }, null]) {
    notice = next;
    await entitled({ ...options, notifier, now: () => at });
    at += 2000;
  }
  assert.deepEqual(told, ["clear", 0, "clear"]);
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
  assert.equal(told.length, 6);
  await show({ ...notifier, clearLicenseNotification: () => { throw new Error("no"); } }, null);
});
