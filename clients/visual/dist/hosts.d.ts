export declare const hosts: Record<string, readonly string[]>;
