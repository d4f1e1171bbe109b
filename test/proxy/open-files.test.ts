import { describe, expect, it } from 'vitest';
import { withinOpenFiles } from '../../src/proxy/open-files.ts';
import { config } from '../data-plane/configuration.ts';
import { captureLog } from './fixture.ts';

function limited(openFiles: number | null, maxClientConn = 1_000) {
  const { log: lines, logger } = captureLog('info');
  const result = withinOpenFiles(config([], { maxClientConn }), openFiles, logger);
  return { maxClientConn: result.maxClientConn, lines };
}

describe('max_client_conn', () => {
  it('stays where there are files enough for both legs of every session, or nobody knows', () => {
    expect(limited(2_064)).toEqual({ maxClientConn: 1_000, lines: [] });
    expect(limited(null)).toEqual({ maxClientConn: 1_000, lines: [] });
  });

  it('is lowered to half of what is left beside 64 files, with a warning that says how many it takes', () => {
    const { maxClientConn, lines } = limited(2_063);
    expect(maxClientConn).toBe(999);
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'warn',
        event: 'limits',
        configured: 1_000,
        max_client_conn: 999,
        open_files: 2_063,
        msg: expect.stringContaining('needs 2064 open files'),
      }),
    ]);
  });

  it('is one at least', () => {
    expect(limited(10).maxClientConn).toBe(1);
  });
});
