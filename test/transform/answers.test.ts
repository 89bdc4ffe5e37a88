import { testJoined } from './joined.ts'
import { testTransform } from './table.ts'

testTransform('inline')
testJoined('inline')
