import fc from 'fast-check';
import { afterAll, beforeAll, it } from 'vitest';
import { expectBooksToAgree } from '../support/ledger.ts';
import { RealWallets } from '../support/real-wallets.ts';
import { assertCommands } from '../support/replay.ts';
import { rounds } from '../support/rounds.ts';
import { type DrawnPayment, paymentOf, twoPayments, walletCommands } from '../support/wallet-commands.ts';
import { WalletModel } from '../support/wallet-model.ts';

/**
 * F30: random sequences of credits, debits, batches, repeated keys, payments, refunds, disputes, repeated events, waits that
 * end, replays by hand and wallets that are frozen, closed and opened, through the API and the receiver and on Postgres, beside a model that keeps a few maps. After
 * every single step the answer, every balance and the state of every event are the model's, and the whole audit is run. A
 * sequence that fails is shrunk, and its failure says how to repeat it. Holds have a model of their own (test/support/hold-model.ts).
 */
let real: RealWallets;
/** A sequence that failed has left jobs and perhaps wrong books behind, which the next must not stumble over. */
let isSpoilt = false;
/** The audit reads the entries of all sequences, so that each step takes longer than the one before. */
const SEQUENCES_EACH = 15;
let sequences = 0;

beforeAll(async () => {
  real = await RealWallets.start();
});
afterAll(() => real.close());

async function run(drawn: readonly DrawnPayment[], commands: Iterable<fc.AsyncCommand<WalletModel, RealWallets>>) {
  if (isSpoilt || sequences === SEQUENCES_EACH) {
    await real.close();
    real = await RealWallets.start();
    sequences = 0;
  }
  isSpoilt = true;
  sequences += 1;
  const customers = [await real.app.newCustomer(), await real.app.newCustomer()];
  const model = new WalletModel(
    customers,
    drawn.map((one) => paymentOf(one, customers)),
  );
  await fc.asyncModelRun(() => ({ model, real }), commands);
  isSpoilt = false;
}

it('random sequences of requests and events end every step as the model does, with books that agree', async () => {
  await assertCommands(fc.asyncProperty(twoPayments, walletCommands, run), { numRuns: rounds(8, 90, 150) });
  await expectBooksToAgree(real.app.database.pool);
}, 900_000);
