import { migrate } from '../../../src/commands/migrate.ts';
import { customer, get } from '../fill.ts';
import { fillEntries, fillWallets } from '../large.ts';
import { drive } from '../load.ts';
import type { Block, Claim, Measured, Row } from '../row.ts';
import { measured } from './kit.ts';

/** W6: pages of the history of one wallet with very many entries, found in every way that the API offers. */

const ENTRIES = 2_000_000;
/** So few requests of each, one after the other: a filter that reads all of it takes seconds. */
const REQUESTS = 30;

/** What is asked for, by the seconds that the wallet's entries span. */
const FILTERS: Readonly<Record<string, (span: number) => string>> = {
  cursor: (span) => `&before_seq=${Math.round(span / 2)}`,
  'largest offset': () => '&page_number=1999',
  'rare event type': () => '&event_type=refund',
  'old, by date': (span) => `&created_at_lte=${at(span / 100)}`,
  'a minute, by dates': (span) => `&created_at_gte=${at(span / 2)}&created_at_lte=${at(span / 2 + 60)}`,
};

const at = (seconds: number) => new Date(Date.UTC(2025, 0, 1) + Math.round(seconds) * 1000).toISOString();

const p50 = (block: Block, side: string) => block(side).p50Ms ?? Number.NaN;

const claimOf = (name: string): Claim => ({
  beside: `the first page, ours: ${name}`,
  of: (block) => ({ ours: p50(block, name), theirs: p50(block, 'first page') }),
  bar: { atMost: 2 },
  unit: 'ms',
});

const history: Row = {
  id: 'W6',
  name: 'history of a wallet with 2,000,000 entries, 1 caller, p50',
  unit: '/s',
  claims: Object.keys(FILTERS).map(claimOf),
  sides: async ({ rig, seconds, scale }) => {
    const count = Math.round(ENTRIES * scale);
    let url = '';
    await rig.database('bench_history', async (databaseUrl) => {
      await migrate(databaseUrl, rig.logger);
      url = (await rig.server('web', databaseUrl)).url;
      const pool = rig.pool(databaseUrl);
      await pool.query(
        "insert into customer (merchant_id, customer_id, email, name, created_at) values ('bus_default', $1, '', '', now())",
        [customer(0)],
      );
      await fillWallets(pool, { from: 0, to: 1, balance: 0 });
      await fillEntries(pool, { each: count, stepMs: 1000, folder: rig.folder });
    });
    const page = (filter: string) => async (): Promise<Measured> => {
      const path = `/customers/${customer(0)}/wallets/ledger-entries?currency=USD&page_size=50${filter}`;
      let left = REQUESTS;
      // A filter that is refused rather than read for long is bounded too.
      const next = () => (left-- > 0 ? { ...get(path), statuses: [200, 422, 503] } : null);
      return measured(await drive(url, 1, Math.max(seconds, 10), next));
    };
    const filtered = Object.entries(FILTERS).map(([name, filter]) => [name, page(filter(count))] as const);
    return { 'first page': page(''), ...Object.fromEntries(filtered) };
  },
};

export const HISTORY_ROWS: readonly Row[] = [history];
