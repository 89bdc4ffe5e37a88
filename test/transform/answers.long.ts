import { testTransform } from './table.ts'

testTransform('worker')
