/** A visual that asks entitled: what belongs into yours, without what it draws. */
import powerbi from "powerbi-visuals-api";
import { entitled, type Result } from "entitled-visual";

const LICENSING = "https://lic.example.test";

export class Visual implements powerbi.extensibility.visual.IVisual {
  private readonly host: powerbi.extensibility.visual.IVisualHost;
  private asked: Promise<Result> | undefined;

  constructor(options: powerbi.extensibility.visual.VisualConstructorOptions) {
    this.host = options.host;
  }

  /** Once for each time the visual is built; the client itself asks again when it is due. */
  private async ask(license: { id: string; licensee: string } | undefined): Promise<Result> {
    const token = await this.token();
    return entitled({
      url: LICENSING,
      product: "synoptic-panel",
      host: this.host.hostEnv,
      locale: this.host.locale,
      version: "2.1.0",
      ...(token ? { token } : {}),
      ...(license ? { license } : {}),
      storage: this.host.storageV2Service,
      notifier: this.host.licenseManager,
    });
  }

  /** Only visuals from AppSource get one, where the tenant's administrator has switched it on. */
  private async token(): Promise<string | undefined> {
    try {
      return (await this.host.acquireAADTokenService.acquireAADToken())?.accessToken;
    } catch {
      return undefined;
    }
  }

  public async update(options: powerbi.extensibility.visual.VisualUpdateOptions): Promise<void> {
    this.asked ??= this.ask(undefined);
    const { usable, answer } = await this.asked;
    const features = usable ? (answer?.features ?? []) : [];
    this.draw(options, features);
  }

  /** Without features: your free basic mode, not an empty box. */
  private draw(options: powerbi.extensibility.visual.VisualUpdateOptions, features: string[]): void {
    void options;
    void features;
  }
}
