/** `pgtls init`: a commented configuration to begin with. */
import { writeFileSync } from 'node:fs';
import { PgtlsError } from '../errors.ts';
import type { Style } from './style.ts';

/**
 * What is written. A line that begins with `#` and no space behind it is a key with its default or an example, to be uncommented; test/cli/starter.test.ts
 * uncomments them all. The first line tells editors where the JSON schema is (Taplo's `#:schema`).
 */
export const STARTER: string = `#:schema ./node_modules/pgtls/schema/pgtls.schema.json
# pgtls.toml: TLS in front of PostgreSQL. Check it with: pgtls validate -c pgtls.toml
# A listener is configured like a PostgreSQL server, a backend like a libpq client. Paths are relative to this file.

#log_level = "info"                      # trace, debug, info, warn, error
#max_client_conn = 10000
#client_login_timeout = "15s"            # from accept to the first ReadyForQuery
#shutdown_timeout = "60s"                # sessions may go on for so long after SIGTERM

# Metrics, health and status over HTTP: /metrics /healthz /readyz /status
#[admin]
#bind_address = "127.0.0.1:9127"

# One route. Repeat [[proxy]] and its tables for more; each is isolated from the others.
[[proxy]]
name = "main"

[proxy.listener]
bind_address = "127.0.0.1:6432"         # or "0.0.0.0:6432", "[::]:6432", "unix:/run/pgtls/.s.PGSQL.6432", or a list
sslmode = "require"                     # clients must use TLS; "verify-ca": they must show a certificate, too
ssl_cert_file = "tls.crt"               # chain, the server's certificate first
ssl_key_file = "tls.key"                # chmod 600
#ssl_ca_file = "clients-ca.crt"          # client certificates are verified against it
#ssl_crl_file = "clients.crl"
#ssl_min_protocol_version = "TLSv1.3"    # the default is "TLSv1.2"
#session_tickets = 2                     # for clients that resume: Go, Java, .NET, Node.js; libpq does not
#allow = ["10.0.0.0/8"]                  # empty: everybody
#max_client_conn_per_ip = 100

[proxy.backend]
address = "unix:/var/run/postgresql"    # or "db.example.com:5432", or a list
sslmode = "disable"                     # beyond this machine: "verify-full", with sslrootcert
#sslrootcert = "backend-ca.crt"          # who signed the server's certificate; "system" for public CAs
#connect_timeout = "5s"
#warm_connections = 4                    # connected before a client asks
`;

/** Writes it to `path`, which must not exist unless it `isForced`. Throws PGTLS_ARGUMENTS_INVALID. */
export function writeStarter(path: string, isForced: boolean): void {
  try {
    writeFileSync(path, STARTER, { flag: isForced ? 'w' : 'wx' });
  } catch (error) {
    throw new PgtlsError('PGTLS_ARGUMENTS_INVALID', problem(path, error), { cause: error });
  }
}

/** What to do next, for people. */
export function nextSteps(path: string, { isRich, paint }: Style): string {
  const mark = isRich ? `${paint('good', '✓')} ` : '';
  return `${mark}${path} is written. Now
  1. put certificate and key where it says, or change ssl_cert_file and ssl_key_file;
  2. say where PostgreSQL is: [proxy.backend], address and sslmode;
  3. ${paint('name', `pgtls validate ${path}`)}
  4. ${paint('name', `pgtls -c ${path}`)}
`;
}

function problem(path: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'EEXIST'
    ? `${path} exists already; --force replaces it`
    : `${path} can't be written: ${error instanceof Error ? error.message : String(error)}`;
}
