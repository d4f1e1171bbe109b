/**
 * A full run at log level trace in which every secret is used, rightly and wrongly: none of them may stand in what the program
 * writes, by log, by stderr or by the admin server, in any spelling.
 */
import { createPrivateKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { adminPort, askAdmin } from '../support/admin-client.ts';
import { type Identity, LOCAL_NAMES } from '../support/certificates.ts';
import { ListenerTls, type Table } from '../support/config.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { connectPg } from '../support/pg-client.ts';
import { quietPort } from '../support/quiet-port.ts';
import { ask, openNegotiatedTls, openTcp, startSession, startTls } from '../support/raw-client.ts';
import { type LogLine, type RunningProxy, runProgram } from '../support/running-proxy.ts';
import { secretsIn, spellingsOf } from '../support/spellings.ts';
import { Generations } from '../support/successors.ts';
import { until } from '../support/until.ts';
import { cancelRequest, PROTOCOL_3_2, SSL_REQUEST, startupMessage } from '../support/wire.ts';

const VARIABLE = 'PGTLS_TEST_SECRET';

let tls: ListenerTls;
let cluster: OwnCluster;

/** Each by the name that a failure tells. */
const secrets: Record<string, Buffer> = {};

/** Makes a secret of letters, digits and hyphens. */
function secret(name: string): string {
  const text = `${name.replaceAll(' ', '-')}-${randomBytes(12).toString('hex')}`;
  secrets[name] = Buffer.from(text);
  return text;
}

const passwords = {
  scram: secret('password for SCRAM'),
  cleartext: secret('password in cleartext'),
  wrong: secret('wrong password'),
  probe: secret('password of the probes'),
  wrongProbe: secret('wrong password of the probes'),
};
const token = secret('bearer token');
const environmentSecret = secret('environment variable');

beforeAll(async () => {
  tls = await ListenerTls.create();
  cluster = await OwnCluster.start({
    identity: await tls.authority.issue({ commonName: 'localhost', names: LOCAL_NAMES }),
    roles: ['scrammed', 'cleartext', 'probe'],
    rules:
      'host all scrammed,probe 127.0.0.1/32 scram-sha-256\nhost all cleartext 127.0.0.1/32 password\n',
  });
  await cluster.query(`alter role scrammed password '${passwords.scram}'`);
  await cluster.query(`alter role cleartext password '${passwords.cleartext}'`);
  await cluster.query(`alter role probe password '${passwords.probe}'`);
});

afterAll(async () => {
  await cluster.stop();
  tls.remove();
});

/** A key's private number, as a secret; the key encrypted if there is a passphrase. */
function keyFile(name: string, { keyPem }: Identity, passphrase: string | null): string {
  const key = createPrivateKey(keyPem);
  secrets[name] = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
  const pem =
    passphrase === null
      ? keyPem
      : key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase });
  return tls.write(`${name.replaceAll(' ', '-')}.key`, String(pem), 0o600);
}

interface Parts {
  readonly listener?: Table;
  /** Stands at the end of the file. */
  readonly rest?: string;
}

/** A configuration that has everything secret in it, apart from what is changed. */
async function configurations(): Promise<(parts?: Parts) => string> {
  const ports = [await quietPort(), await quietPort()];
  const passphrase = secret('passphrase');
  const passphraseFile = tls.write('passphrase', `${passphrase}\n`, 0o600);
  const client = await tls.issue('client', { commonName: 'pgtls', names: [] });
  const admin = await tls.issue('admin', { commonName: 'localhost', names: LOCAL_NAMES });
  const ticketKey = randomBytes(64);
  secrets['ticket key'] = ticketKey;
  const listener = {
    ssl_key_file: keyFile('key of the listener', tls.server, passphrase),
    ssl_passphrase_command: `cat ${passphraseFile} # \${${VARIABLE}}`,
    ssl_ca_file: tls.caFile,
    session_tickets: 2,
    ticket_key_file: tls.write('ticket.keys', `${ticketKey.toString('base64')}\n`, 0o600),
  };
  const backend = {
    address: `127.0.0.1:${cluster.port}`,
    sslmode: 'verify-full',
    sslrootcert: tls.caFile,
    sslcert: client.certFile,
    sslkey: keyFile('key shown to backends', client, null),
    warm_connections: 1,
    target_session_attrs: 'primary',
    probe_user: 'probe',
  };
  const probe = tls.write('probe.password', `${passwords.probe}\n`, 0o600);
  const wrongProbe = tls.write('wrong-probe.password', `${passwords.wrongProbe}\n`, 0o600);
  const adminTable = [
    '[admin]',
    'bind_address = "127.0.0.1:0"',
    `ssl_cert_file = "${admin.certFile}"`,
    `ssl_key_file = "${keyFile('key of the admin server', admin, null)}"`,
    `auth_token_file = "${tls.write('token', token, 0o600)}"`,
  ].join('\n');
  return ({ listener: other = {}, rest = '' } = {}) => {
    const routes = [probe, wrongProbe].map((file, index) => ({
      name: ['right', 'wrong'][index] ?? '',
      listener: { ...listener, ...other, bind_address: `127.0.0.1:${ports[index]}` },
      backend: { ...backend, probe_password_file: file },
    }));
    const top = { log_level: 'trace', reload_on_change: false };
    return `${tls.config(routes, top)}\n${adminTable}\n${rest}`;
  };
}

async function logIn(port: number, user: string, password: string): Promise<void> {
  const identity = await tls.issue(user, { commonName: user, names: [] });
  keyFile('key of a client', identity, null);
  const ssl = { ...tls.clientOptions, cert: identity.certPem, key: identity.keyPem };
  const client = await connectPg({ port, user, password, ssl });
  await client.query(`select '${secret('literal in a query')}'`);
  await client.query('select $1::text', [secret('parameter of a query')]);
  await expect(client.query(`select ${secret('column')}`)).rejects.toThrow();
  await client.end();
}

async function logInRightlyAndWrongly(proxy: RunningProxy): Promise<void> {
  const port = proxy.port('right');
  for (const [user, password] of [
    ['scrammed', passwords.scram],
    ['cleartext', passwords.cleartext],
  ] as const) {
    await logIn(port, user, password);
    const refused = connectPg({ port, user, password: passwords.wrong, ssl: tls.clientOptions });
    await expect(refused).rejects.toMatchObject({ code: '28P01' });
    await proxy.logged({ event: 'conn.close', user, reason: 'client_closed' });
    await proxy.logged({ event: 'conn.close', user, phase: 'authenticate' });
  }
}

/** Parameters that PostgreSQL takes, and others that it quotes when it refuses them. */
async function startWithParameters(proxy: RunningProxy): Promise<void> {
  const port = proxy.port('right');
  const taken = await openNegotiatedTls(port, tls.clientOptions);
  const { processId, secretKey } = await startSession(
    taken,
    { options: `-c search_path=${secret('option')}`, application_name: secret('application name') },
    PROTOCOL_3_2,
  );
  secrets['cancel key'] = secretKey;
  for (const key of [secretKey, randomBytes(32)]) {
    secrets[key === secretKey ? 'cancel key' : 'unknown cancel key'] = key;
    const canceller = await openNegotiatedTls(port, tls.clientOptions);
    await canceller.write(cancelRequest(processId, key));
    await canceller.ended();
    canceller.destroy();
  }
  expect(await ask(taken, 'select 1')).toEqual([['1']]);
  taken.destroy();
  for (const parameters of [
    { options: `-c work_mem=${secret('refused option')}` },
    { work_mem: secret('refused parameter') },
  ]) {
    const refused = await openNegotiatedTls(port, tls.clientOptions);
    await expect(startSession(refused, parameters)).rejects.toThrow('work_mem');
    refused.destroy();
  }
  const noServer = await openNegotiatedTls(proxy.port('wrong'), tls.clientOptions);
  await expect(startSession(noServer)).rejects.toThrow('08006');
  noServer.destroy();
  await proxy.logged({ event: 'conn.close', route: 'wrong', sqlstate: '08006' });
}

/** What is no TLS where TLS has to be, and no PostgreSQL at all. */
async function breakHandshakes(proxy: RunningProxy): Promise<void> {
  const port = proxy.port('right');
  const plain = await openTcp(port);
  await plain.write(startupMessage({ user: 'trusted', options: secret('plaintext option') }));
  await plain.rest();
  const web = await openTcp(port);
  await web.write(Buffer.from(`GET /?${secret('path')} HTTP/1.1\r\n\r\n`));
  await web.rest();
  const mixed = await openTcp(port);
  await mixed.write(SSL_REQUEST);
  await mixed.read(1);
  await mixed.write(startupMessage({ user: 'trusted', options: secret('option for TLS') }));
  await mixed.rest();
  const distrustful = await openTcp(port);
  await distrustful.write(SSL_REQUEST);
  await distrustful.read(1);
  await expect(startTls(distrustful.release(), { ca: [] })).rejects.toThrow();
  await proxy.logged({ event: 'conn.close', reason: 'tls_required' });
  await until('two handshakes have failed', () => {
    const failed = proxy.logs.filter(({ reason }) => reason === 'client_tls_handshake_failed');
    return failed.length >= 2;
  });
}

/** Every answer of the admin server, asked with the token and without. */
async function askEverything(proxy: RunningProxy): Promise<string> {
  const port = await adminPort(proxy);
  const answers: string[] = [];
  for (const path of [
    '/metrics',
    '/status',
    '/readyz',
    '/healthz',
    `/${secret('path asked for')}`,
  ]) {
    for (const asked of [token, secret('wrong token'), undefined]) {
      const ca = tls.authority.certPem;
      const options = asked === undefined ? { ca } : { ca, token: asked };
      const { status, headers, body } = await askAdmin(port, path, options);
      answers.push(`${status} ${JSON.stringify(headers)}\n${body}`);
    }
  }
  return answers.join('\n');
}

/** Reloads that fail, each at a line with a secret; what `validate` says of the same file. */
async function failToReload(
  { proxy, pid }: Generations,
  configOf: (parts?: Parts) => string,
): Promise<string> {
  const output: string[] = [];
  const inLine = secret('literal in the file');
  const wrong = [
    configOf({ listener: { no_sni: `\${${VARIABLE}}` } }),
    configOf({ listener: { ssl_key_file: `/nowhere/\${${VARIABLE}}` } }),
    configOf({ listener: { ssl_passphrase_command: `echo \${${VARIABLE}} >&2; exit 1` } }),
    configOf({ listener: { ssl_passphrase_command: `echo ${inLine}` } }),
    configOf({ rest: `ssl_passphrase_command = "echo ${inLine}\n` }),
    configOf({ rest: `bind = echo ${inLine}\n` }),
  ];
  const failures = () =>
    proxy.logs.filter(({ event, result }) => event === 'config.reload' && result === 'failure');
  for (const config of wrong) {
    const before = failures().length;
    proxy.rewrite(config);
    process.kill(pid, 'SIGHUP');
    await until('the reload fails', () => failures().length > before, {
      explain: () => proxy.output,
    });
    output.push(await outputOf('validate', proxy, 2), await outputOf('doctor', proxy, null));
  }
  proxy.rewrite(configOf());
  output.push(await outputOf('validate', proxy, 0), await outputOf('doctor', proxy, 0));
  return output.join('\n');
}

async function outputOf(
  command: 'validate' | 'doctor',
  { configFile }: RunningProxy,
  expected: number | null,
): Promise<string> {
  const environment = { ...process.env, [VARIABLE]: environmentSecret };
  const { code, stdout, stderr } = await runProgram([command, '-c', configFile], environment);
  if (expected !== null) {
    expect(code, stderr).toBe(expected);
  }
  return `${stdout}\n${stderr}`;
}

function hasLine(logs: readonly LogLine[], event: string): boolean {
  return logs.some((line) => line['event'] === event);
}

test('no secret is in the log, on stderr, or in an answer of the admin server', async () => {
  const configOf = await configurations();
  const environment = { [VARIABLE]: environmentSecret };
  const generations = await Generations.start(configOf(), { environment });
  const { proxy } = generations;

  await logInRightlyAndWrongly(proxy);
  await startWithParameters(proxy);
  await breakHandshakes(proxy);
  const answers = [await askEverything(proxy)];
  const printed = await failToReload(generations, configOf);
  await generations.next();
  await logIn(proxy.port('right'), 'scrammed', passwords.scram);
  answers.push(await askEverything(proxy));
  process.kill(generations.pid, 'SIGTERM');
  await until('both have ended', () => generations.endedCount === 2);

  const { output, logs } = proxy;
  const everything = { output, printed, answers: answers.join('\n') };
  for (const text of Object.values(everything)) {
    expect(secretsIn(text, secrets), text).toEqual([]);
  }
  expect(Object.keys(secrets).length).toBeGreaterThan(20);
  // The log has what it should have, so that it is no wonder that nothing was found.
  for (const event of ['start', 'conn.accept', 'negotiate', 'tls.client', 'conn.close']) {
    expect(hasLine(logs, event), event).toBe(true);
  }
  expect(output).toContain(`\${${VARIABLE}}`);
  expect(output).toContain('password authentication failed for user');
  expect(output).toContain('"client_cert_subject":"CN=scrammed"');
  expect(printed).toContain('is valid');
  expect(answers.join('\n')).toContain('pgtls_build_info');
});

test('a secret is found however it is spelled', () => {
  const found = Buffer.from('a secret of mine');
  const around = (text: string) => `{"x":"${text}"}`;
  for (const spelling of spellingsOf(found)) {
    expect(secretsIn(around(spelling), { found })).toEqual(['found']);
  }
  for (const offset of [0, 1, 2, 3]) {
    const text = Buffer.concat([randomBytes(offset), found, randomBytes(5)]).toString('base64');
    expect(secretsIn(around(text), { found })).toEqual(['found']);
  }
  expect(secretsIn(around('a secret of yours'), { found })).toEqual([]);
});
