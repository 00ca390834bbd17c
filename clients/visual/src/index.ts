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
  valid_until: string;
}

/** What came of a question. */
export interface Result {
  /** Whether the visual may be used: false when nobody could be asked and nothing valid is kept. */
  usable: boolean;
  /** The answer, checked; `null` if there is none that may be believed. */
  answer: Answer | null;
  /** `fresh` from the daemon, `kept` and not yet due again, `offline`: kept, and nobody answers. */
  from: "fresh" | "kept" | "offline" | "none";
  /**
   * Why there is no fresh answer: `network`, `timeout`, `clock` (this computer's clock is wrong),
   * `form`, `key`, `signature`, `audience`, `issuer`, `expired`, or the HTTP status such as `401`.
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
  /** The page that embeds the visual, if the visual knows it. */
  site?: string;
  storage?: Storage;
  notifier?: Notifier;
  /** For tests: the time in milliseconds, and `fetch`. */
  now?: () => number;
  fetch?: typeof fetch;
}

/** A signed answer, when to ask again, and the key that checks it while nobody can be asked for keys. */
interface Kept { t: string; u: number; k?: Jwk }
interface Jwk extends JsonWebKey { kid?: string }

/** Until an answer must be there, in milliseconds. */
const PATIENCE = 3000;
/** How wrong a clock may be, in milliseconds. */
const SKEW = 300_000;
/** How long another frame's request is waited for, in milliseconds. */
const LEASE = 4000;
/** The largest answer that is kept. */
const KEPT_MAX = 4096;

const running = new Map<string, Promise<Result>>();
const keySets = new Map<string, { keys: Jwk[]; tried: Set<string> }>();
/** Answers kept in this frame: storage may be missing. By question. */
const memory = new Map<string, string>();

const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
/** Waits, but no longer than that; storage that never answers must not hold the visual up. */
const within = <T>(it: PromiseLike<T>, ms: number): Promise<T | undefined> =>
  Promise.race([it, wait(ms) as Promise<undefined>]);

const bytes = (text: string): Uint8Array =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const object = (part: string | undefined): any =>
  JSON.parse(new TextDecoder().decode(bytes(part ?? "")));

/** A short name for what is asked, without telling it: FNV-1a, in 32 bits twice. */
const short = (text: string): string => {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (let at = 0; at < text.length; at++) {
    a = Math.imul(a ^ text.charCodeAt(at), 0x01000193);
    b = Math.imul(b ^ text.charCodeAt(at), 0x85ebca6b);
  }
  return (a >>> 0).toString(36) + (b >>> 0).toString(36);
};

/** Who is asked for: of a user's token the ids alone, since a token is renewed every hour. */
const whoIs = (token?: string): string => {
  try {
    const claims = object(token?.split(".")[1]);
    return claims.tid + claims.oid;
  } catch {
    return token ?? "";
  }
};

const request = async (it: Options, path: string, init?: RequestInit): Promise<Response> => {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), PATIENCE);
  try {
    const answer = await (it.fetch ?? fetch)(bare(it.url) + path, { ...init, signal: stop.signal });
    const text = await answer.text();
    return new Response(text, { status: answer.status, headers: answer.headers });
  } catch {
    throw stop.signal.aborted ? "timeout" : "network";
  } finally {
    clearTimeout(timer);
  }
};

const bare = (url: string): string => String(url).replace(/\/$/, "");
const isAhead = (claims: { iat: number }, now: number): boolean => !(claims.iat * 1000 <= now + SKEW);

/**
 * The key of this id; fetched anew at most once for each id that is not known. `spare` is the one
 * that was kept with the answer: a frame that is built while nobody answers has no other.
 */
const keyOf = async (it: Options, kid: string, spare?: Jwk): Promise<Jwk> => {
  const set = keySets.get(it.url) ?? { keys: [], tried: new Set<string>() };
  keySets.set(it.url, set);
  const find = () => set.keys.find((key) => key.kid === kid);
  if (!find() && !set.tried.has(kid)) {
    try {
      const answer = await request(it, "/.well-known/jwks.json");
      if (!answer.ok) throw String(answer.status);
      set.keys = (await answer.json()).keys ?? [];
      set.tried.add(kid);
    } catch (why) {
      if (spare?.kid !== kid) throw why;
      return spare;
    }
  }
  const key = find();
  if (!key) throw "key";
  return key;
};

/**
 * The claims of a signed answer, if it may be believed at this time. It is never earlier than the
 * signer's `iat`: for a fresh answer a clock that is behind is put right by it, and one that is far
 * ahead makes it look expired (`clock`); a kept answer from the future means that somebody has put
 * the clock back.
 */
const verify = async (it: Options, token: string, now: number, fresh: boolean, spare?: Jwk): Promise<Answer & { iat: number }> => {
  const [head, body, signature, ...more] = token.split(".");
  let header: any, claims: any, sealed: Uint8Array;
  try {
    [header, claims, sealed] = [object(head), object(body), bytes(signature ?? "")];
  } catch {
    throw "form";
  }
  if (header.alg !== "ES256" || more.length) throw "form";
  const { kty, crv, x, y } = await keyOf(it, String(header.kid), spare);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const { subtle } = crypto;
  const key = await subtle.importKey("jwk", { kty, crv, x, y } as JsonWebKey, algorithm, false, ["verify"]);
  const signed = new TextEncoder().encode(head + "." + body);
  if (!(await subtle.verify(algorithm, key, sealed as BufferSource, signed))) throw "signature";
  if (claims.aud !== it.product) throw "audience";
  if (bare(claims.iss) !== bare(it.issuer ?? it.url)) throw "issuer";
  if (!(claims.exp * 1000 + (fresh ? SKEW : 0) > now)) throw fresh ? "clock" : "expired";
  if (!fresh && isAhead(claims, now)) throw "clock";
  return claims;
};

/** What is kept for a question: in this frame, else in the visual's storage. */
const kept = async (it: Options, key: string, anew?: boolean): Promise<Kept | null> => {
  const own = anew ? undefined : memory.get(key);
  try {
    const text = own ?? (it.storage && (await within(it.storage.get(key), 500)));
    const found = text ? JSON.parse(text) : null;
    return typeof found?.t === "string" && typeof found.u === "number" ? found : null;
  } catch {
    return null;
  }
};

const keep = async (it: Options, key: string, text: string): Promise<void> => {
  if (text.length > KEPT_MAX) return;
  memory.set(key, text);
  try {
    await (it.storage && within(it.storage.set(key, text), 500));
  } catch {
    // It is kept in this frame at least.
  }
};

const result = (answer: Answer | null, from: Result["from"], error: string | null): Result =>
  ({ usable: answer?.usable === true, answer, from, error });

/** Asks the daemon. Returns its answer as it signed it, or throws why there is none. */
const ask = async (it: Options, now: () => number): Promise<[string, number]> => {
  const { product, host, locale, version, license, site } = it;
  const body = JSON.stringify({ product, host, locale, version, license, package: it.package, site });
  const headers: Record<string, string> = { "Content-Type": "text/plain" };
  if (it.token) headers.Authorization = "Bearer " + it.token;
  const answer = await request(it, "/v1/entitlements", { method: "POST", headers, body, credentials: "omit" });
  const after = Number(answer.headers.get("Retry-After")) || 0;
  if (!answer.ok) throw [String(answer.status), after];
  let read: any;
  try {
    read = await answer.json();
  } catch {
    throw "form";
  }
  if (typeof read?.token !== "string") throw "form";
  return [read.token, now() + jitter((Number(read.check_after) || 60) * 1000)];
};

/** Somewhat later, so that not all ask at once. */
const jitter = (ms: number): number => ms * (1 + Math.random() / 10);

const answered = async (it: Options, key: string): Promise<Result> => {
  const now = it.now ?? Date.now;
  let old = await kept(it, key);
  const valid = async (): Promise<Answer | null> => {
    try {
      return old && (await verify(it, old.t, now(), false, old.k));
    } catch {
      return null;
    }
  };
  let answer = await valid();
  if (answer && now() < old!.u) return result(answer, "kept", null);
  // Another frame may be asking: its lease says so, and its answer will be in storage.
  const lease = "l" + key;
  try {
    const until = Number(it.storage && (await within(it.storage.get(lease), 500)));
    const end = Math.min(until, now() + LEASE);
    while (now() < end) {
      await wait(50);
      old = (await kept(it, key, true)) ?? old;
      answer = await valid();
      if (answer && now() < old!.u) return result(answer, "kept", null);
    }
    await (it.storage && within(it.storage.set(lease, String(now() + LEASE)), 500));
  } catch {
    // Without storage each frame asks for itself.
  }
  try {
    const [token, until] = await ask(it, now);
    const fresh = await verify(it, token, now(), true);
    const { kid } = object(token.split(".")[0]);
    await keep(it, key, JSON.stringify({ t: token, u: until, k: await keyOf(it, kid) }));
    return result(fresh, "fresh", isAhead(fresh, now()) ? "clock" : null);
  } catch (why) {
    const [error, after] = Array.isArray(why) ? why : [typeof why === "string" ? why : "form", 0];
    answer = await valid();
    // Asked again not before the server wants it, nor all at once.
    if (answer && old) await keep(it, key, JSON.stringify({ ...old, u: now() + jitter((after || 30) * 1000) }));
    return result(answer, answer ? "offline" : "none", error);
  }
};

/** Shows a notice, or takes away what was shown. Where Power BI shows one overlay not, the other is tried. */
export const show = async (notifier: Notifier | undefined, notice: Notice | null): Promise<void> => {
  try {
    if (!notifier) return;
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
    const who = [it.url, it.product, it.host, it.locale, whoIs(it.token), it.license, it.package, it.site];
    const key = "entitled-" + short(JSON.stringify(who));
    let asking = running.get(key);
    if (!asking) {
      asking = answered(it, key);
      running.set(key, asking);
      const done = () => running.delete(key);
      asking.then(done, done);
    }
    found = await asking;
  } catch {
    found = result(null, "none", "form");
  }
  if (found.answer) await within(show(it.notifier, found.answer.notice), 1000);
  return found;
};
