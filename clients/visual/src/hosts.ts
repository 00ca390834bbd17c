// Made by `entitled products hosts --typescript`; a test compares. Where each way of being
// licensed counts, in the public cloud.
export const hosts: Record<string, readonly string[]> = {
  "appsource": ["web", "desktop", "mobile", "dashboard"],
  "saas": ["web", "desktop", "mobile", "dashboard"],
  "isv_app": ["web", "desktop", "mobile", "dashboard"],
  "direct": ["web", "desktop", "mobile", "dashboard", "embed", "report_server", "publish_to_web", "export"],
  "direct site": ["embed"],
  "hybrid entra": ["web", "desktop", "mobile", "dashboard"],
  "hybrid licensee": ["web", "desktop", "mobile", "dashboard"],
};
