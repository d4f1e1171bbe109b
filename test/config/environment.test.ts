// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax under test
import { describe, expect, it } from 'vitest';
import { substituteEnvironment } from '../../src/config/environment.ts';
import { backendOf, listenerMessages, listenerOf, messagesOf, route } from './fixture.ts';

describe('${NAME} in strings', () => {
  it('takes the value of an environment variable, several times and inside of text', () => {
    const environment = { HOST: 'db', ZONE: 'example.com' };
    const { addresses } = backendOf(
      'address = "${HOST}.${ZONE}:5433"\nsslmode = "disable"',
      environment,
    );
    expect(addresses).toEqual([{ kind: 'tcp', host: 'db.example.com', port: 5433 }]);
  });

  it('works in choices and durations', () => {
    const listener = listenerOf('sslmode = "${MODE}"\ncert_refresh_interval = "${EVERY}"', {
      MODE: 'disable',
      EVERY: '60',
    });
    expect(listener).toMatchObject({ sslmode: 'disable', certRefreshIntervalMillis: 60_000 });
  });

  it('is an error at its key when the variable is not set', () => {
    expect(listenerMessages('sslmode = "${MODE}"')).toEqual([
      'proxy[0].listener.sslmode: environment variable MODE is not set',
    ]);
  });

  it.each(['${}', '${1A}', '${A B}', 'x${A'])('refuses %s, which names no variable', (text) => {
    expect(substituteEnvironment(text, { A: 'a' })).toMatchObject({ ok: false });
  });

  it('does not substitute within what it has put in', () => {
    const environment = { OUTER: '${INNER}', INNER: 'x' };
    expect(substituteEnvironment('${OUTER}', environment)).toEqual({ ok: true, text: '${INNER}' });
  });

  it('is not quoted by errors, in no form that they give it', () => {
    const lines = [
      '-----BEGIN PRIVATE KEY-----',
      'MIGHAgEAMBM//yqGSM49/',
      '-----END PRIVATE KEY-----/',
    ];
    const pem = lines.join('\n');
    const keys = 'ssl_cert_file = "tls.crt"\nssl_key_file = "${KEY}"';
    expect(listenerMessages(keys, { KEY: pem }).join()).toMatch(
      /"[^"]*\/\$\{KEY\}" does not exist/,
    );
    const address = messagesOf(route('bind_address = "${WHERE}"'), { WHERE: 'db:hunter2' }).join();
    expect(address).toContain('${WHERE}');
    expect(address).not.toContain('hunter2');
  });

  it('leaves a lone dollar alone', () => {
    expect(substituteEnvironment('/a$b/$c', {})).toEqual({ ok: true, text: '/a$b/$c' });
  });
});
