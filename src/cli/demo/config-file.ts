/** The demo's pgtls.toml, and the port its listener gets. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DemoCertificates } from './certificate-files.ts';
import { freePort, tryPort } from './free-port.ts';

/** PgBouncer's port, and what the documentation's examples use. */
const USUAL_PORT = 6432;
/** The admin server's port in the documentation's examples. */
const USUAL_ADMIN_PORT = 9127;

/** What differs from demo to demo. */
export interface DemoSettings {
  /** 0 = any. */
  readonly listenerPort: number;
  readonly adminPort: number;
  readonly backendPort: number;
  readonly certificates: DemoCertificates;
}

/** 6432 when it is free on 127.0.0.1, else 0: whatever the kernel gives. */
export async function preferredPort(): Promise<number> {
  return (await tryPort(USUAL_PORT)) ?? 0;
}

/** 9127 when it is free on 127.0.0.1, else one that was free a moment ago: the admin server's is not told by the proxy. */
export async function preferredAdminPort(): Promise<number> {
  return (await tryPort(USUAL_ADMIN_PORT)) ?? (await freePort());
}

/** Writes pgtls.toml into `directory` and returns its path. */
export function writeDemoConfig(directory: string, settings: DemoSettings): string {
  const file = join(directory, 'pgtls.toml');
  writeFileSync(file, configText(settings));
  return file;
}

/** The port at the end of `host:port`. */
export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

function configText(settings: DemoSettings): string {
  const { listenerPort, adminPort, backendPort, certificates } = settings;
  const quoted = (path: string) => JSON.stringify(path);
  return `# Written by pgtls demo; removed when it ends.
shutdown_timeout = "1s"
max_client_conn = 1000                  # fits the usual limit of open files

[admin]
bind_address = "127.0.0.1:${adminPort}"

[[proxy]]
name = "demo"

[proxy.listener]
bind_address = "127.0.0.1:${listenerPort}"
sslmode = "require"
ssl_cert_file = ${quoted(certificates.certFile)}
ssl_key_file = ${quoted(certificates.keyFile)}

[proxy.backend]
address = "127.0.0.1:${backendPort}"
sslmode = "disable"
`;
}
