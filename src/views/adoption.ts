import { z } from 'zod';
import type { SourceAdoption } from '../reconciliation/adopt.ts';
import { EXAMPLE } from './examples.ts';

/** How the API shows that one source takes over the payments of another. */

const count = z.int().min(0);

export const adoptionShape = z
  .strictObject({
    from: z.string(),
    into: z.string(),
    status: z.enum(['planned', 'started', 'done']).meta({
      description: 'planned: nothing is done. started: the worker does it now. done: by the command line.',
    }),
    payments: count.meta({ description: 'With their refunds, disputes and movements.' }),
    links: count.meta({ description: "Provider's customers that are linked with wallets." }),
    events: count,
    accounts: z.array(z.string()).meta({ description: "The provider's own names of its accounts." }),
  })
  .meta({
    id: 'SourceAdoption',
    examples: [
      {
        ...{ from: 'src_stripe', into: EXAMPLE.sourceId, status: 'planned', payments: 1200, links: 800, events: 3100 },
        accounts: ['acct_1NffVfLkdIwHu7ix'],
      },
    ],
  });

type AdoptionResponse = z.output<typeof adoptionShape>;

export function adoptionResponse(adoption: SourceAdoption, status: AdoptionResponse['status']): AdoptionResponse {
  return { ...adoption, status, accounts: [...adoption.accounts] };
}
