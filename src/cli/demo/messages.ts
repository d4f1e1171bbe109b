/** What the demo prints once everything runs: the way in, and what to try next. test/end-to-end/demo.test.ts runs all of it. */
import type { Style } from '../style.ts';
import type { FirstQuery } from './first-query.ts';

/** The facts that the text is made of. */
export interface Welcome {
  readonly port: number;
  /** Of the admin server. */
  readonly adminPort: number;
  readonly password: string;
  readonly caFile: string;
  readonly configFile: string;
  readonly query: FirstQuery;
}

/** The psql line, the first query's answer and what TLS agreed on; then other ways in, and what else is there to see. */
export function welcomeText(welcome: Welcome, { paint }: Style): string {
  const { port, configFile, query } = welcome;
  const title = (text: string) => paint('strong', text);
  const command = (text: string) => paint('name', text);
  const facts: [string, string][] = [
    ['select version()', query.version],
    ['TLS version', query.tlsVersion],
    ['cipher', query.cipher],
    ['key exchange', query.group ?? 'not reported by this Node.js'],
  ];
  return `
pgtls listens on 127.0.0.1:${port} (sslmode=require), PostgreSQL behind it. Configuration: ${configFile}

${title('Connect with psql, the certificate verified:')}

  ${command(psqlLine(welcome, 'verify-full'))}

${title('A first query through it (node-postgres, the certificate verified):')}

${facts.map(([name, value]) => `  ${name.padEnd(18)} ${value}`).join('\n')}

${title('What to try next')}

The same as a URI, for libpq and most drivers:

  ${command(uriOf(welcome))}

From Node.js, with the package pg (a clone has it), as a file try.mjs; then: node try.mjs

${command(snippet(welcome))}

In psql, "select pg_sleep(60);" and Ctrl-C: the CancelRequest finds its way. A client without TLS is told what is missing:

  ${command(psqlLine(welcome, 'disable'))}

Metrics, and what pgtls says of itself:

  ${command(`curl http://127.0.0.1:${welcome.adminPort}/metrics`)}
  ${command(`curl http://127.0.0.1:${welcome.adminPort}/status`)}

A configuration of your own to begin with: pgtls init (in a clone: node dist/cli/main.js init), then docs/getting-started.md.

Ctrl-C stops everything and removes the temporary files.
`;
}

function psqlLine({ port, password, caFile }: Welcome, sslmode: 'verify-full' | 'disable'): string {
  const root = sslmode === 'disable' ? '' : ` sslrootcert=${caFile}`;
  return `PGPASSWORD=${password} psql "host=localhost hostaddr=127.0.0.1 port=${port} user=postgres dbname=postgres sslmode=${sslmode}${root}"`;
}

function uriOf({ port, password, caFile }: Welcome): string {
  const root = encodeURIComponent(caFile).replaceAll('%2F', '/');
  return `postgresql://postgres:${encodeURIComponent(password)}@localhost:${port}/postgres?sslmode=verify-full&sslrootcert=${root}`;
}

function snippet(welcome: Welcome): string {
  return `  import pg from 'pg';
  const client = new pg.Client('${uriOf(welcome)}');
  await client.connect();
  console.log((await client.query('select 1 + 1 as two')).rows);
  await client.end();`;
}
