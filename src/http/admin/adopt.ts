import { z } from 'zod';
import { planAdoption } from '../../reconciliation/adopt.ts';
import { adoptionResponse, adoptionShape } from '../../views/adoption.ts';
import { plainIdParams, text } from '../../views/fields.ts';
import { adminRoute, type Route } from '../kit/route.ts';
import { merchantParams } from './merchants.ts';

const adopt = adminRoute({
  method: 'post',
  path: '/admin/merchants/{merchant_id}/sources/{source_id}/adopt',
  tag: 'Administration',
  summary: 'Take over the payments of another source',
  description:
    'Moves the payments, links, events and accounts of `from`, which may be a source that the environment had before. Afterwards refunds of its payments are found, and what still comes in by it is handled as of this source. The worker does it; repeat it as a dry run to see what is left. Refused, naming them, where both have posted the same payments.',
  params: merchantParams.extend(plainIdParams('source_id').shape),
  body: z
    .strictObject({
      from: text(100, 1).meta({ description: 'The source that is replaced, such as `src_stripe`.' }),
      dry_run: z.boolean().default(false).meta({ description: 'Only say what would be moved.' }),
    })
    .meta({ examples: [{ from: 'src_stripe', dry_run: true }] }),
  response: { description: 'What is to be moved.', schema: adoptionShape },
  errors: ['CONFLICT'],
  async handle({ services, params, body }) {
    const pair = { merchantId: params.merchant_id, from: body.from, into: params.source_id };
    const plan = await planAdoption(services, pair);
    if (body.dry_run) return adoptionResponse(plan, 'planned');
    await services.boss.send('adopt-source', pair);
    services.logger.info({ who: 'admin', ...pair }, 'a source is to adopt another one');
    return adoptionResponse(plan, 'started');
  },
});

export const adminAdoptionRoutes: readonly Route[] = [adopt];
