/** Reads the keys of session resumption of `[proxy.listener]`. May import the other files of config/ only. */
import { readFilePath } from './files.ts';
import type { ListenerConfig } from './schema.ts';
import type { TableReader } from './table-reader.ts';

type SessionTickets = Pick<
  ListenerConfig,
  'sessionTickets' | 'ticketKeyFile' | 'ticketRotationMillis'
>;

const MAX_TICKETS = 8;
const HOUR_MILLIS = 3_600_000;
/** A ticket key decrypts for two rotations, and no ticket may last for more than seven days (RFC 8446, 4.6.1). */
const MAX_ROTATION_MILLIS = 84 * HOUR_MILLIS;

/** Reads `session_tickets`, `ticket_key_file` and `ticket_rotation`. */
export function readSessionTickets(reader: TableReader): SessionTickets {
  const tickets: SessionTickets = {
    sessionTickets: reader.integer('session_tickets', 0, { min: 0, max: MAX_TICKETS }),
    ticketKeyFile: readFilePath(reader, 'ticket_key_file', 'ticket-key'),
    ticketRotationMillis: reader.duration('ticket_rotation', 6 * HOUR_MILLIS, {
      min: 60_000,
      max: MAX_ROTATION_MILLIS,
    }),
  };
  if (reader.has('ticket_rotation') && reader.has('ticket_key_file')) {
    reader.error(
      'ticket_rotation',
      'is of generated keys; those of ticket_key_file change when the file does: expected one of the two',
    );
  }
  if (tickets.sessionTickets === 0 && reader.has('ticket_key_file')) {
    reader.context.problems.warn(
      reader.pathOf('ticket_key_file'),
      'has no effect with session_tickets = 0',
    );
  }
  return tickets;
}
