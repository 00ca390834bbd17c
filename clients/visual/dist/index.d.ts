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
export type State = "active" | "trial" | "grace" | "pending" | "suspended" | "expired" | "unlicensed" | "unknown";
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
    license?: {
        id: string;
        licensee: string;
    };
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
export interface Jwk extends JsonWebKey {
    kid?: string;
}
/** Shows a notice, or takes away what was shown. Where Power BI shows one overlay not, the other is tried. */
export declare const show: (notifier: Notifier | undefined, notice: Notice | null) => Promise<void>;
/** May this visual be used? Never throws, and takes no longer than a few seconds. */
export declare const entitled: (it: Options) => Promise<Result>;
