/** The measuring client's view of PostgreSQL's messages. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Messages, message } from '../../bench/clients/wire.mjs';

/** The tags that are found in the chunks. */
function tagsOf(chunks: readonly Buffer[]): string {
  let tags = '';
  const messages = new Messages((tag) => {
    tags += tag;
  });
  for (const chunk of chunks) {
    messages.push(chunk);
  }
  return tags;
}

test('messages are found however the stream is cut', () => {
  const stream = Buffer.concat([
    message('1'),
    message('D', Buffer.alloc(300, 7)),
    message('D', Buffer.alloc(3)),
    message('C', Buffer.from('COPY 2\0')),
    message('Z', Buffer.from('I')),
  ]);
  const cuts = fc.array(fc.nat(stream.length), { maxLength: 12 });
  fc.assert(
    fc.property(cuts, (places) => {
      const ends = [...places].sort((one, other) => one - other).concat(stream.length);
      const chunks = ends.map((end, index) => stream.subarray(ends[index - 1] ?? 0, end));
      expect(tagsOf(chunks)).toBe('1DDCZ');
    }),
  );
});

test('an ErrorResponse is an error with what PostgreSQL said', () => {
  const response = message('E', Buffer.from('SFATAL\0C28000\0Mno such role\0\0'));
  expect(() => tagsOf([response.subarray(0, 9), response.subarray(9)])).toThrow('no such role');
});
