/** What the demo prints once everything runs. */
import type { FirstQuery } from './first-query.ts';

/** The facts that the text is made of. */
export interface Welcome {
  readonly port: number;
  readonly password: string;
  readonly caFile: string;
  readonly configFile: string;
  readonly query: FirstQuery;
}

/** The psql line, the first query's answer and what TLS agreed on. */
export function welcomeText({ port, password, caFile, configFile, query }: Welcome): string {
  return `
pgtls listens on 127.0.0.1:${port} (sslmode=require), PostgreSQL behind it. Configuration: ${configFile}

Connect with psql, the certificate verified:

  PGPASSWORD=${password} psql "host=localhost hostaddr=127.0.0.1 port=${port} user=postgres dbname=postgres sslmode=verify-full sslrootcert=${caFile}"

A first query through it (node-postgres, the certificate verified):

  select version()   ${query.version}
  TLS version        ${query.tlsVersion}
  cipher             ${query.cipher}
  key exchange       ${query.group ?? 'not reported by this Node.js'}

Ctrl-C stops everything and removes the temporary files.
`;
}
