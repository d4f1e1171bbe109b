/** Secrets are read only from files that nobody else may read, whichever key names them. */
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ListenerTls } from '../support/config.ts';
import { runProgram } from '../support/running-proxy.ts';

let tls: ListenerTls;
/** By the key that names the file. */
let files: Readonly<Record<string, string>>;
let config = '';

beforeAll(async () => {
  tls = await ListenerTls.create();
  const issue = (name: string) => tls.issue(name, { commonName: 'localhost', names: [] });
  const host = await issue('host');
  const backend = await issue('backend');
  const admin = await issue('admin');
  const ticketKey = `${Buffer.alloc(64, 7).toString('base64')}\n`;
  files = {
    'proxy[0].listener.ssl_key_file': tls.server.keyFile,
    'proxy[0].listener.host[0].ssl_key_file': host.keyFile,
    'proxy[0].listener.ticket_key_file': tls.write('ticket.keys', ticketKey, 0o600),
    'proxy[0].backend.sslkey': backend.keyFile,
    'proxy[0].backend.probe_password_file': tls.write('password', 'a secret', 0o600),
    'admin.ssl_key_file': admin.keyFile,
    'admin.auth_token_file': tls.write('token', 'a-token-that-is-long', 0o600),
  };
  const of = (key: string) => JSON.stringify(files[key]);
  config = `
[[proxy]]
[proxy.listener]
bind_address = "127.0.0.1:0"
sslmode = "require"
ssl_cert_file = "${tls.server.certFile}"
ssl_key_file = ${of('proxy[0].listener.ssl_key_file')}
session_tickets = 1
ticket_key_file = ${of('proxy[0].listener.ticket_key_file')}
[[proxy.listener.host]]
hostname = "localhost"
ssl_cert_file = "${host.certFile}"
ssl_key_file = ${of('proxy[0].listener.host[0].ssl_key_file')}
[proxy.backend]
address = "127.0.0.1:5432"
sslmode = "verify-full"
sslrootcert = "${tls.caFile}"
sslcert = "${backend.certFile}"
sslkey = ${of('proxy[0].backend.sslkey')}
target_session_attrs = "primary"
probe_user = "probe"
probe_password_file = ${of('proxy[0].backend.probe_password_file')}
[admin]
bind_address = "127.0.0.1:0"
ssl_cert_file = "${admin.certFile}"
ssl_key_file = ${of('admin.ssl_key_file')}
auth_token_file = ${of('admin.auth_token_file')}
`;
});

afterAll(() => tls.remove());

test('with mode 0600 all of them are taken', async () => {
  const { code, stderr } = await runProgram(['validate', '-c', tls.write('good.toml', config)]);
  expect(code, stderr).toBe(0);
});

test('with mode 0604 each is refused, by the key that names it', async () => {
  for (const file of Object.values(files)) {
    chmodSync(file, 0o604);
  }
  const { code, stderr } = await runProgram(['validate', '-c', tls.write('bad.toml', config)]);
  for (const file of Object.values(files)) {
    chmodSync(file, 0o600);
  }
  expect(code).toBe(2);
  const lines = stderr.split('\n').filter((line) => line.includes('group or world access'));
  for (const [key, file] of Object.entries(files)) {
    const line = lines.find((candidate) => candidate.includes(`: ${key}: `));
    expect(line, `${key}\n${stderr}`).toContain(file);
    expect(line).toContain('(mode 0604)');
  }
  expect(lines).toHaveLength(Object.keys(files).length);
});
