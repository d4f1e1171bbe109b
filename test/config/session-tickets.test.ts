import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/parse.ts';
import { errorsOf, LISTENER, listenerOf, makeDirectory, route, writeConfig } from './fixture.ts';

function messagesOf(listener: string): string[] {
  return errorsOf(route(`${LISTENER}\n${listener}`)).map(
    ({ keyPath, message }) => `${keyPath}: ${message}`,
  );
}

/** Loads a listener beside the file `ticket.keys`. */
function loadWithKeys(listener: string, mode = 0o600) {
  const directory = makeDirectory();
  const file = join(directory, 'ticket.keys');
  writeFileSync(file, '');
  chmodSync(file, mode);
  return loadConfig(writeConfig(route(`${LISTENER}\n${listener}`), directory), {});
}

describe('session tickets', () => {
  it('are off by default, with generated keys of six hours', () => {
    expect(listenerOf('')).toMatchObject({
      sessionTickets: 0,
      ticketKeyFile: null,
      ticketRotationMillis: 21_600_000,
    });
  });

  it('take a number and a rotation', () => {
    expect(listenerOf('session_tickets = 2\nticket_rotation = "84h"')).toMatchObject({
      sessionTickets: 2,
      ticketRotationMillis: 302_400_000,
    });
  });

  it('are 8 at most', () => {
    expect(messagesOf('session_tickets = 9')).toEqual([
      'proxy[0].listener.session_tickets: expected an integer from 0 to 8, got 9',
    ]);
  });

  it('never last longer than seven days, which are two rotations', () => {
    const [message] = messagesOf('ticket_rotation = "85h"');
    expect(message).toMatch(
      /ticket_rotation: expected a duration .*\(from 1min to 84h\), got "85h"/,
    );
  });

  it('take the keys of a file', () => {
    const { config, warnings } = loadWithKeys(
      'session_tickets = 1\nticket_key_file = "ticket.keys"',
    );
    expect(config.proxies[0]?.listener.ticketKeyFile).toMatch(/\/ticket\.keys$/);
    expect(warnings).toEqual([]);
  });

  it('take no file that others may read', () => {
    const load = () => loadWithKeys('session_tickets = 1\nticket_key_file = "ticket.keys"', 0o644);
    expect(load).toThrow(
      /ticket_key_file: ticket key ".*" has group or world access \(mode 0644\)/,
    );
  });

  it('take no file that is missing', () => {
    const [message] = messagesOf('session_tickets = 1\nticket_key_file = "missing.keys"');
    expect(message).toMatch(/ticket_key_file: file ".*missing\.keys" does not exist/);
  });

  it('rotate generated keys only', () => {
    const both = 'session_tickets = 1\nticket_key_file = "ticket.keys"\nticket_rotation = "1h"';
    expect(() => loadWithKeys(both)).toThrow(/ticket_rotation: is of generated keys/);
  });

  it('warn of a key file that has no effect', () => {
    const { warnings } = loadWithKeys('ticket_key_file = "ticket.keys"');
    expect(warnings.map(({ message }) => message)).toEqual([
      'has no effect with session_tickets = 0',
    ]);
  });
});
