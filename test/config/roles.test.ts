import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/parse.ts';
import {
  BACKEND,
  backendMessages,
  backendOf,
  LISTENER,
  makeDirectory,
  required,
  route,
  warningsOf,
  writeConfig,
} from './fixture.ts';

const PREFIX = 'proxy[0].backend';

describe('target_session_attrs', () => {
  it('is any, and then nothing is probed', () => {
    expect(backendOf(BACKEND).roles).toBeNull();
    expect(backendOf(`${BACKEND}\ntarget_session_attrs = "any"`).roles).toBeNull();
  });

  it.each(['read-write', 'read-only', 'primary', 'standby', 'prefer-standby'])(
    'can be %s with a user for probes',
    (value) => {
      const keys = `target_session_attrs = "${value}"\nprobe_user = "probe"`;
      expect(backendOf(`${BACKEND}\n${keys}`).roles).toEqual({
        targetSessionAttrs: value,
        probeUser: 'probe',
        probePasswordFile: null,
        probeDatabase: 'postgres',
      });
    },
  );

  it('is an error without a user for probes, and says why', () => {
    expect(backendMessages(`${BACKEND}\ntarget_session_attrs = "primary"`)).toEqual([
      `${PREFIX}.probe_user: missing; target_session_attrs "primary" needs a user for probes: a relay learns a server's role only after authentication`,
    ]);
  });

  it('is told with the values there are', () => {
    expect(backendMessages(`${BACKEND}\ntarget_session_attrs = "readwrite"`)).toEqual([
      `${PREFIX}.target_session_attrs: expected "any", "read-write", "read-only", "primary", "standby", "prefer-standby", got "readwrite"`,
    ]);
  });
});

describe('the user of probes', () => {
  it('has a database and a password file, found from the directory of the configuration', () => {
    const directory = makeDirectory();
    const password = join(directory, 'probe.password');
    writeFileSync(password, 'secret\n', { mode: 0o600 });
    const keys = [
      BACKEND,
      'target_session_attrs = "standby"',
      'probe_user = "probe"',
      'probe_password_file = "probe.password"',
      'probe_database = "monitoring"',
    ].join('\n');
    const file = writeConfig(route(LISTENER, keys), directory);
    const [proxy] = loadConfig(file, {}).config.proxies;
    expect(required(proxy).backend.roles).toMatchObject({
      probePasswordFile: password,
      probeDatabase: 'monitoring',
    });
    chmodSync(password, 0o644);
    expect(() => loadConfig(file, {})).toThrow(
      /probe_password_file: password file ".*" has group or world access \(mode 0644\)/,
    );
  });

  it('whose password file is missing is an error at that key', () => {
    const keys =
      'target_session_attrs = "standby"\nprobe_user = "probe"\nprobe_password_file = "nope"';
    expect(backendMessages(`${BACKEND}\n${keys}`)).toEqual([
      expect.stringMatching(/^proxy\[0\]\.backend\.probe_password_file: file ".*" does not exist$/),
    ]);
  });

  it('must be a name that a startup packet can carry', () => {
    const keys = 'target_session_attrs = "standby"\nprobe_user = "a\\u0000b"';
    expect(backendMessages(`${BACKEND}\n${keys}`)).toEqual([
      `${PREFIX}.probe_user: must not contain a zero byte`,
    ]);
  });

  it('without target_session_attrs has no effect, which is a warning', () => {
    expect(warningsOf(route(LISTENER, `${BACKEND}\nprobe_user = "probe"`))).toEqual([
      `${PREFIX}.probe_user: has no effect: with target_session_attrs "any" nothing is probed`,
    ]);
  });
});

describe('load_balance_hosts', () => {
  it('is disable or random', () => {
    expect(backendOf(BACKEND).loadBalanceHosts).toBe('disable');
    expect(backendOf(`${BACKEND}\nload_balance_hosts = "random"`).loadBalanceHosts).toBe('random');
    expect(backendMessages(`${BACKEND}\nload_balance_hosts = true`)).toEqual([
      `${PREFIX}.load_balance_hosts: expected a string, got true`,
    ]);
  });
});

describe('warm_connections', () => {
  it('are none by default', () => {
    expect(backendOf(BACKEND).warm).toBeNull();
    expect(backendOf(`${BACKEND}\nwarm_connections = 0\nwarm_max_age = "5s"`).warm).toBeNull();
  });

  it('have an age that they do not exceed', () => {
    expect(backendOf(`${BACKEND}\nwarm_connections = 8`).warm).toEqual({
      connections: 8,
      maxAgeMillis: 30_000,
    });
    expect(backendOf(`${BACKEND}\nwarm_connections = 1\nwarm_max_age = "1s"`).warm).toEqual({
      connections: 1,
      maxAgeMillis: 1_000,
    });
  });

  it('are bounded, as is their age', () => {
    expect(backendMessages(`${BACKEND}\nwarm_connections = 2000\nwarm_max_age = "0s"`)).toEqual([
      `${PREFIX}.warm_connections: expected an integer from 0 to 1024, got 2000`,
      expect.stringMatching(/warm_max_age: expected a duration .* \(from 1s to 10min\), got "0s"$/),
    ]);
  });

  it('that a server with its defaults would end first are warned of', () => {
    const keys = `${BACKEND}\nwarm_connections = 1\nwarm_max_age = "60s"`;
    expect(warningsOf(route(LISTENER, keys))).toEqual([
      expect.stringMatching(/warm_max_age: is not less than the default of PostgreSQL's authent/),
    ]);
  });
});
