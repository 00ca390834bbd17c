/**
 * Asks entitled whether this visual may be used: shares one request among the visuals of a page,
 * checks the signed answer, keeps it, works offline by it until it expires, and shows its notice
 * in Power BI's own terms. Nothing here throws into the visual.
 */

/** What `host.storageV2Service` offers of storage; may be missing, may fail. */
export interface Storage {
  get(key: string): PromiseLike<string | null | undefined>;
  set(key: string, value: string): PromiseLike<unknown>;
}

/** What `host.licenseManager` offers of notices. */
export interface Notifier {
  notifyLicenseRequired(type: number): PromiseLike<boolean>;
  notifyFeatureBlocked(tooltip: string): PromiseLike<boolean>;
  clearLicenseNotification(): PromiseLike<boolean>;
}

/** What should be shown beside an answer. */
export interface Notice {
  type: "General" | "VisualIsBlocked" | "UnsupportedEnv" | "FeatureBanner";
  reason: string;
  text: string;
  language: string;
  days_left: number | null;
}

export type State =
  | "active" | "trial" | "grace" | "pending" | "suspended" | "expired" | "unlicensed" | "unknown";

/** The answer of `POST /v1/entitlements`, as its signed token repeats it. */
export interface Answer {
  product: string;
  state: State;
  usable: boolean;
  reason: string;
  source: string | null;
  plan: string | null;
  features: string[];
  period_end: string | null;
  grace_end: string | null;
  notice: Notice | null;
  as_of: string | null;
  stale: boolean;
  check_after: number;
  /** `null` only of a package that holds without an end. */
  valid_until: string | null;
}

/** What came of a question. */
export interface Result {
  /** Whether the visual may be used: false when nobody could be asked and nothing valid is kept. */
  usable: boolean;
  /** The answer, checked, or what the package says; `null` if there is none that may be believed. */
  answer: Answer | null;
  /**
   * `fresh` from the daemon, `kept` and not yet due again, `offline`: kept, and nobody answers;
   * `package`: nobody answers, nothing is kept, and the package itself holds.
   */
  from: "fresh" | "kept" | "offline" | "package" | "none";
  /**
   * Why there is no fresh answer: `network`, `timeout`, `clock` (this computer's clock is wrong),
   * `form`, `key`, `signature`, `audience`, `issuer`, `expired`, or the HTTP status such as `401`.
   * With a package and `none`, why the package does not hold: also `revoked`, and `host` (a license
   * for a site, elsewhere than embedded).
   */
  error: string | null;
}

/** What to ask, and by what means. */
export interface Options {
  /** Where entitled is, such as `https://lic.example.test`; also who signs, unless `issuer` differs. */
  url: string;
  issuer?: string;
  /** The product's id. */
  product: string;
  /** `host.hostEnv`, or its word. */
  host: number | string;
  /** `host.locale`. */
  locale?: string;
  /** The visual's version. */
  version?: string;
  /** The user's Entra token (`acquireAADToken`), if the visual can get one. */
  token?: string;
  /** License id and licensee, as typed into the format pane. */
  license?: { id: string; licensee: string };
  /** The token that was built into the package. */
  package?: string;
  /** The keys of `/.well-known/jwks.json`, built in beside the package: it works offline by them. */
  keys?: Jwk[];
  /** The capacity it runs on, if the visual knows it; recorded, never a ground for the answer. */
  capacity?: string;
  /** The page that embeds the visual, if the visual knows it. */
  site?: string;
  storage?: Storage;
  notifier?: Notifier;
  /** For tests: the time in milliseconds, and `fetch`. */
  now?: () => number;
  fetch?: typeof fetch;
}

/** A public key of the key set. */
export interface Jwk extends JsonWebKey { kid?: string }

/**
 * A signed answer, when to ask again, the key that checks it while nobody can be asked for keys, and
 * why nobody answered the last time. It may hold anything: whoever can write the storage wrote it.
 */
interface Kept { t?: string; u?: number; k?: Jwk; e?: string }

/** Until an answer must be there, in milliseconds. */
const PATIENCE = 3000;
/** How wrong a clock may be, in milliseconds. */
const SKEW = 300_000;
/** How long another frame's request is waited for, in milliseconds. */
const LEASE = 4000;
/** The largest answer that is kept. */
const KEPT_MAX = 4096;
/** How long a key id stays unknown, in milliseconds. */
const UNKNOWN_FOR = 300_000;
/** How long an anonymous id lives, in milliseconds: 29 days, as what a visual stores does. */
const ID_LIVES = 29 * 86_400_000;
/** How long a failure is remembered at most, in milliseconds. */
const REST_MAX = 3_600_000;

/** What of the options is sent; all but the first three tell one question from another. */
const FIELDS = ["version", "capacity", "anonymous_id", "product", "host", "locale", "license", "id", "licensee", "package", "site"];
/** Before each key in the visual's storage. */
const OURS = "entitled-";
/** The `typ` of what is signed. */
const ANSWER = "JWT";
const PACKAGE = "entitled-package+jwt";
const REVOCATIONS = "entitled-revocations+jwt";

const running: Record<string, Promise<Result>> = {};
/** By url. */
const keySets: Record<string, Jwk[]> = {};
/** When a key id was looked for in vain, by url and id. */
const unknown: Record<string, number> = {};
/** What is kept in this frame: storage may be missing. */
const memory: Record<string, string> = {};
/** What each notifier shows. */
const shown = new WeakMap<Notifier, string>();

const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
/** Waits, but no longer than that; what never answers must not hold the visual up. */
const within = <T>(it: PromiseLike<T>, ms: number): Promise<T | undefined> =>
  Promise.race([it, wait(ms) as Promise<undefined>]);

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
const bytes = (text: string | undefined): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob((text ?? "").replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const object = (part: string | undefined): any => JSON.parse(new TextDecoder().decode(bytes(part)));

/** A short name for a text, without telling it: the first 12 bytes of its SHA-256, as numbers. */
const short = async (text: string): Promise<string> =>
  String(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(text)), 0, 12));

/** What a license is called in the list of revoked ones, and in storage once it was found there. */
const mark = (license: string): Promise<string> => short("entitled revocation\n" + license);

/** Who is asked for: of a user's token the ids alone, since a token is renewed every hour. */
const whoIs = (token?: string): string => {
  try {
    const claims = object(token?.split(".")[1]);
    return claims.tid + claims.oid;
  } catch {
    return token ?? "";
  }
};

const bare = (url: string): string => String(url).replace(/\/$/, "");
const isAhead = (claims: { iat: number }, now: number): boolean => !(claims.iat * 1000 <= now + SKEW);
/** Somewhat later, so that not all ask at once. */
const later = (now: number, seconds: number): number => now + seconds * (1000 + Math.random() * 100);

/** What was thrown: a word, or a word and when to come again, in seconds, or something unforeseen. */
const reason = (why: unknown): [string, number] => {
  const [word, after] = [why].flat() as any[];
  return [typeof word === "string" ? word : "form", after];
};

/** The body of an answer that is one. */
const request = async (it: Options, path: string, init?: RequestInit): Promise<string> => {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE);
  let answer: Response, text: string;
  try {
    answer = await (it.fetch ?? fetch)(bare(it.url) + path, { ...init, signal: stop.signal });
    text = await answer.text();
  } catch {
    throw stop.signal.aborted ? "timeout" : "network";
  } finally {
    clearTimeout(timer);
  }
  if (!answer.ok) throw [String(answer.status), Number(answer.headers.get("Retry-After"))];
  return text;
};

/** What the visual's storage holds, or nothing; with a value, puts it there. */
const stored = async ({ storage }: Options, key: string, value?: string): Promise<string | null | undefined> => {
  try {
    return await (storage && within<any>(value ? storage.set(key, value) : storage.get(key), 500));
  } catch {
    return;
  }
};

/** What is kept: in this frame, else in the visual's storage. */
const kept = async (it: Options, key: string): Promise<string | null | undefined> => memory[key] ?? stored(it, key);

const keep = async (it: Options, key: string, text: string): Promise<void> => {
  if (text.length > KEPT_MAX) return;
  memory[key] = text;
  await stored(it, key, text);
};

/**
 * The key of this id: built in, or fetched. A new key may sign at once, so a set that lacks it is
 * fetched again past every cache. `spare` is the one that was kept with the answer: a frame that is
 * built while nobody answers has no other.
 */
const keyOf = async (it: Options, kid: string, now: number, spare?: Jwk): Promise<Jwk> => {
  const id = it.url + kid;
  const caches: RequestCache[] = ["default", "no-cache"];
  for (;;) {
    const key = [...(it.keys ?? []), ...(keySets[it.url] ?? [])].find((key) => key.kid === kid);
    if (key) return key;
    const cache = caches.shift();
    if (!cache) unknown[id] = now;
    if (now - unknown[id]! < UNKNOWN_FOR) throw "key";
    try {
      keySets[it.url] = JSON.parse(await request(it, "/.well-known/jwks.json", { cache: cache! })).keys;
    } catch (why) {
      if (spare?.kid !== kid) throw why;
      return spare;
    }
  }
};

/**
 * The claims of what is signed, if it may be believed at this time. It is never earlier than the
 * signer's `iat`: for a fresh answer a clock that is behind is put right by it, and one that is far
 * ahead makes it look expired (`clock`); a kept answer from the future means that somebody has put
 * the clock back.
 */
const verify = async (it: Options, token: string, typ: string, now: number, fresh: boolean, spare?: Jwk): Promise<any> => {
  const [head, body, signature, ...more] = token.split(".");
  const [header, claims, sealed] = [object(head), object(body), bytes(signature)];
  if (header.alg !== "ES256" || header.typ !== typ || more.length) throw "form";
  const { kty, crv, x, y } = await keyOf(it, String(header.kid), now, spare);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const { subtle } = crypto;
  const key = await subtle.importKey("jwk", { kty, crv, x, y } as JsonWebKey, algorithm, false, ["verify"]);
  if (!(await subtle.verify(algorithm, key, sealed, utf8(head + "." + body)))) throw "signature";
  if (typ !== REVOCATIONS && claims.aud !== it.product) throw "audience";
  if (bare(claims.iss) !== bare(it.issuer ?? it.url)) throw "issuer";
  // Only a package may have no end.
  const end = typ === PACKAGE && claims.exp === undefined ? Infinity : claims.exp * 1000;
  if (!(end + (fresh ? SKEW : 0) > now)) throw fresh ? "clock" : "expired";
  if (!fresh && isAhead(claims, now)) throw "clock";
  return claims;
};

const result = (answer: Answer | null, from: Result["from"], error: string | null): Result =>
  ({ usable: answer?.usable === true, answer, from, error });

/**
 * By what the users of a license are counted where nobody signs in: made up here, for 29 days. None on
 * public pages, and none that cannot be kept: it would be somebody else each time.
 */
const anonymous = async (it: Options, now: number): Promise<string | undefined> => {
  if (!(it.license || it.package) || it.host === "publish_to_web" || Number(it.host) & 2) return;
  for (let tries = 2; tries--; ) {
    const [id, made] = String(await stored(it, OURS + "id")).split(" ");
    if (now - Number(made) < ID_LIVES) return id;
    await stored(it, OURS + "id", crypto.getRandomValues(new Uint32Array(4)) + " " + now);
  }
  return;
};

/** Asks the daemon. Returns its answer as it signed it, or throws why there is none. */
const ask = async (it: Options, now: number): Promise<string> => {
  const body = JSON.stringify({ ...it, anonymous_id: await anonymous(it, now) }, FIELDS);
  // As a text is sent without a `Content-Type`, it needs no preflight.
  const headers = it.token ? { Authorization: "Bearer " + it.token } : {};
  return JSON.parse(await request(it, "/v1/entitlements", { method: "POST", headers, body, credentials: "omit" })).token;
};

/** Looks the package's license up in the signed list of revoked ones; kept if there: it is for good. */
const lookUp = async (it: Options, now: number): Promise<void> => {
  try {
    const ours = await mark(object(it.package!.split(".")[1]).license);
    const list = await request(it, "/.well-known/revocations");
    const { revoked } = await verify(it, list, REVOCATIONS, now, true);
    if (revoked.some((one: string) => String(bytes(one)) === ours)) await keep(it, OURS + ours, "1");
  } catch {
    // What is known of it already counts.
  }
};

/** Nobody answers and nothing is kept: what the package says by itself, until its next payment date. */
const carried = async (it: Options, now: number, error: string): Promise<Result> => {
  try {
    if (!it.package) throw error;
    const { product, host } = it;
    const { license, kind, features, iat, exp } = await verify(it, it.package, PACKAGE, now, false);
    if (kind === "site" && host !== "embed" && !(Number(host) & 8)) throw "host";
    if (await kept(it, OURS + (await mark(license)))) throw "revoked";
    const time = (seconds?: number) => (seconds ? new Date(seconds * 1000).toISOString() : null);
    return result({
      product, state: "active", usable: true, reason: "license_active", source: "direct", plan: null, features,
      period_end: time(exp), grace_end: null, notice: null, as_of: time(iat), stale: true, check_after: 600, valid_until: time(exp),
    }, "package", error);
  } catch (why) {
    return result(null, "none", reason(why)[0]);
  }
};

const answered = async (it: Options, key: string): Promise<Result> => {
  const now = it.now ?? Date.now;
  let old: Kept = {};
  const valid = (): Promise<Answer | null> => verify(it, old.t!, ANSWER, now(), false, old.k).catch(() => null);
  /** What there is to say without asking, until it is time to ask. */
  const rested = async (text: string | null | undefined): Promise<Result | undefined> => {
    try {
      old = JSON.parse(text!) ?? old;
    } catch {
      // There is nothing, or nonsense.
    }
    const rest = old.u! - now();
    if (!(rest > 0)) return;
    const answer = await valid();
    if (answer) return result(answer, "kept", null);
    if (old.e && rest < REST_MAX) return carried(it, now(), old.e);
    return;
  };
  let found = await rested(await kept(it, key));
  // Another frame may be asking: its lease says so, and its answer will be in storage.
  const lease = OURS + "l" + key;
  const end = Math.min(found ? 0 : Number(await stored(it, lease)), now() + LEASE);
  while (!found && now() < end) {
    await wait(50);
    found = await rested(await stored(it, key));
  }
  if (found) return found;
  await stored(it, lease, String(now() + LEASE));
  const list = it.package && lookUp(it, now());
  try {
    const t = await ask(it, now());
    const fresh = await verify(it, t, ANSWER, now(), true);
    const k = await keyOf(it, object(t.split(".")[0]).kid, now());
    await keep(it, key, JSON.stringify({ t, k, u: later(now(), fresh.check_after || 60) }));
    return result(fresh, "fresh", isAhead(fresh, now()) ? "clock" : null);
  } catch (why) {
    const [e, after] = reason(why);
    const answer = await valid();
    await list;
    found = answer ? result(answer, "offline", e) : await carried(it, now(), e);
    // Asked again not before the server wants it, nor all at once.
    await keep(it, key, JSON.stringify({ ...old, e, u: later(now(), after || (found.from === "package" ? 600 : 30)) }));
    return found;
  }
};

/** Shows a notice, or takes away what was shown. Where Power BI shows one overlay not, the other is tried. */
export const show = async (notifier: Notifier | undefined, notice: Notice | null): Promise<void> => {
  try {
    // Each only once: a visual asks at each update.
    const text = JSON.stringify(notice);
    if (!notifier || shown.get(notifier) === text) return;
    shown.set(notifier, text);
    if (!notice) await notifier.clearLicenseNotification();
    else if (notice.type === "FeatureBanner") await notifier.notifyFeatureBlocked(notice.text.slice(0, 500));
    else if (notice.type === "General") await notifier.notifyLicenseRequired(0);
    else {
      const first = notice.type === "UnsupportedEnv" ? 1 : 2;
      if (!(await notifier.notifyLicenseRequired(first))) await notifier.notifyLicenseRequired(3 - first);
    }
  } catch {
    // A notice that cannot be shown changes nothing.
  }
};

/** May this visual be used? Never throws, and takes no longer than a few seconds. */
export const entitled = async (it: Options): Promise<Result> => {
  let found: Result;
  try {
    const key = OURS + (await short(JSON.stringify([it.url, whoIs(it.token), it], FIELDS.slice(3))));
    found = await (running[key] ??= answered(it, key).finally(() => delete running[key]));
  } catch {
    found = result(null, "none", "form");
  }
  if (found.answer) await within(show(it.notifier, found.answer.notice), 1000);
  return found;
};
