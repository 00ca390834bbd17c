/** A visual that asks entitled: what belongs into yours, without what it draws. */
import powerbi from "powerbi-visuals-api";
import { entitled, type Result } from "entitled-visual";

const LICENSING = "https://lic.example.test";
/** An Entra token lives for an hour or more. */
const TOKEN_LIVES = 30 * 60_000;

export class Visual implements powerbi.extensibility.visual.IVisual {
  private readonly host: powerbi.extensibility.visual.IVisualHost;
  private token: Promise<string | undefined> | undefined;
  private tokenAt = 0;
  private updates = 0;

  constructor(options: powerbi.extensibility.visual.VisualConstructorOptions) {
    this.host = options.host;
  }

  /** At each update: the client answers from memory, and asks again when it is due. */
  private async ask(license: { id: string; licensee: string } | undefined): Promise<Result> {
    if (!this.token || Date.now() - this.tokenAt > TOKEN_LIVES) {
      this.tokenAt = Date.now();
      this.token = this.acquire();
    }
    const token = await this.token;
    return entitled({
      url: LICENSING,
      product: "synoptic-panel",
      host: this.host.hostEnv,
      locale: this.host.locale,
      version: "2.1.0",
      ...(token ? { token } : {}),
      ...(license ? { license } : {}),
      // A visual that carries its license in its package: `package: PACKAGE, keys: KEYS`.
      storage: this.host.storageV2Service,
      notifier: this.host.licenseManager,
    });
  }

  /** Only visuals from AppSource get one, where the tenant's administrator has switched it on. */
  private async acquire(): Promise<string | undefined> {
    try {
      return (await this.host.acquireAADTokenService.acquireAADToken())?.accessToken;
    } catch {
      return undefined;
    }
  }

  public async update(options: powerbi.extensibility.visual.VisualUpdateOptions): Promise<void> {
    const update = ++this.updates;
    const { usable, answer } = await this.ask(undefined);
    // A later update may have been drawn meanwhile.
    if (update !== this.updates) return;
    const features = usable ? (answer?.features ?? []) : [];
    this.draw(options, features);
  }

  /** Without features: your free basic mode, not an empty box. */
  private draw(options: powerbi.extensibility.visual.VisualUpdateOptions, features: string[]): void {
    void options;
    void features;
  }
}
