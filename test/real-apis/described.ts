import type { ListedKind } from '../../src/providers/shared/api.ts';
import type { SeededName } from '../support/seeded-doubles.ts';

/** A provider whose OpenAPI description is published, but in no package: a developer downloads it and names the file. */
export interface Described {
  readonly name: SeededName;
  readonly variable: string;
  /** Where it is published, and under which licence. */
  readonly published: string;
  /** What the paths that we ask for begin with. */
  readonly routes: readonly string[];
  /** Prism makes up answers of any size and form; of large descriptions it takes minutes, or fails at it. */
  readonly isRandomisable: boolean;
  /** Ids of the form that the provider makes. */
  readonly ids: Readonly<Record<ListedKind, string>>;
}

export const DESCRIBED: readonly Described[] = [
  {
    name: 'dodo',
    variable: 'DODO_OPENAPI_FILE',
    published:
      'github.com/dodopayments/dodo-docs, openapi/openapi.documented.yml (repository: GPL-3.0; description: Apache-2.0)',
    routes: ['/payments', '/refunds', '/disputes'],
    isRandomisable: true,
    ids: { payment: 'pay_0NWZ61Wd5ZgM5xH2BjyTn', refund: 'ref_0NWZ61', dispute: 'dis_0NX2cPq7' },
  },
  {
    name: 'paddle',
    variable: 'PADDLE_OPENAPI_FILE',
    published: 'github.com/PaddleHQ/paddle-openapi, v1/openapi.yaml (Apache-2.0)',
    routes: ['/transactions', '/adjustments'],
    isRandomisable: false,
    ids: {
      payment: 'txn_01hv8m0mnx3sj85e7gxc6kga03',
      refund: 'adj_01hv8m0mnx3sj85e7gxc6kga03',
      dispute: 'adj_01hv8m0mnx3sj85e7gxc6kga03',
    },
  },
  {
    name: 'polar',
    variable: 'POLAR_OPENAPI_FILE',
    published: 'github.com/polarsource/polar, docs/openapi/2026-10.openapi.json (Apache-2.0)',
    routes: ['/v1/orders', '/v1/refunds', '/v1/disputes'],
    isRandomisable: false,
    ids: {
      payment: '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000001',
      refund: '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000002',
      dispute: '5b1c9f0e-6d1a-4f6e-9a43-3f4e8d000003',
    },
  },
];
