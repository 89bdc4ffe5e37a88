import { testTransform } from './table.ts'

testTransform('inline')
